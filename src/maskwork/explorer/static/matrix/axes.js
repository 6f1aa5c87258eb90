// Positions, or tokens, along the matrix: round numbers where there is room, nothing that overlaps.
// @ts-check

import { whole } from "../panels/parts.js";

/** The smallest of 1, 2, 5, 10, 20, … that is at least this. @param {number} least */
export function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  for (const digit of [1, 2, 5, 10]) if (digit * power >= least) return digit * power;
  return 10 * power;
}

/** @param {string} word */
const short = (word) => (word.length > 12 ? `${word.slice(0, 11)}…` : word);

/** Words and marks of a text, for the axes. @param {string} text @returns {string[]} */
export const tokens = (text) => text.match(/\w+|[^\w\s]/gu) ?? [];

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {object} axis
 * @param {number} axis.from  first position shown
 * @param {number} axis.cells  how many
 * @param {number} axis.pixels  CSS pixels that they take
 * @param {number} axis.offset  added to a position's number
 * @param {string[]} axis.words
 * @param {boolean} axis.across
 * @param {number} axis.left
 * @param {number} axis.top
 * @param {string} axis.ink
 */
export function drawAxis(context, { from, cells, pixels, offset, words, across, left, top, ink }) {
  const cell = pixels / cells;
  context.fillStyle = context.strokeStyle = ink;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  const last = from + cells;
  const widest = context.measureText(whole(last + offset)).width + 14;
  const named = words.length > 0 && cell >= 12;
  const step = named ? 1 : roundStep((across ? widest : 28) / cell);
  for (let at = Math.ceil(from / step) * step; at < last; at += step) {
    const middle = (at - from + (cell >= 4 ? 0.5 : 0)) * cell;
    const text = named ? short(words[at + offset] ?? String(at + offset)) : whole(at + offset);
    context.save();
    if (across && named) {
      context.translate(left + middle, top - 6);
      context.rotate(-Math.PI / 4);
      context.textAlign = "left";
      context.fillText(text, 0, 0);
    } else if (across) {
      // a label is never cut at the right edge
      if (middle + widest / 2 - 7 <= pixels + 12) {
        context.textAlign = "center";
        context.fillText(text, left + middle, top - 12);
        context.fillRect(Math.round(left + middle), top - 4, 1, 4);
      }
    } else {
      context.textAlign = "right";
      context.fillText(text, left - 8, top + middle);
      if (!named) context.fillRect(left - 4, Math.round(top + middle), 4, 1);
    }
    context.restore();
  }
}
