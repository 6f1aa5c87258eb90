// Positions, or tokens, along the matrix: round numbers where there is room, and no label over another.
// @ts-check

import { formatInteger } from "../format.js";
import { boxOf } from "./frame.js";

const FONT_SIZE = 12; // px
const LINE = 28; // CSS pixels from a label on the left to the next
const LABEL_GAP = 14; // CSS pixels between labels above
const TOKENS_FROM = 12; // CSS pixels per cell, from which tokens fit
const MIDDLE_FROM = 4; // CSS pixels per cell, from which a label stands at the middle of its cell
const LONGEST_TOKEN = 12; // letters
const RIGHT_MARGIN = 12; // CSS pixels to the right of the matrix

/**
 * Return the smallest of 1, 2, 5, 10, 20, … that is at least this.
 * @param {number} least
 */
export function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  for (const digit of [1, 2, 5, 10]) if (digit * power >= least) return digit * power;
  return 10 * power;
}

/** @param {string} word */
const shorten = (word) => (word.length > LONGEST_TOKEN ? `${word.slice(0, LONGEST_TOKEN - 1)}…` : word);

/**
 * Return the words and punctuation marks of a text, one for each position.
 * @param {string} text
 * @returns {string[]}
 */
export const tokensOf = (text) => text.match(/\w+|[^\w\s]/gu) ?? [];

/**
 * Draw both axes of a frame.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./frame.js").Frame} frame
 * @param {{words: string[], style: CSSStyleDeclaration}} options
 */
export function drawAxes(context, frame, { words, style }) {
  const { room, view, qStart } = frame;
  const { wide, high } = boxOf(frame);
  context.setTransform(room.dpr, 0, 0, room.dpr, 0, 0);
  context.font = `${FONT_SIZE}px ${style.fontFamily}`;
  const shared = { left: room.left, top: room.top, words, ink: style.getPropertyValue("--muted") };
  const keys = { from: view.k, cells: wide / view.zoom, pixels: wide / room.dpr, offset: 0, across: true };
  const queries = { from: view.q, cells: high / view.zoom, pixels: high / room.dpr, offset: qStart, across: false };
  for (const axis of [keys, queries]) drawAxis(context, { ...axis, ...shared });
}

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {object} axis
 * @param {number} axis.from  first cell shown
 * @param {number} axis.cells  cells shown
 * @param {number} axis.pixels  CSS pixels that they take
 * @param {number} axis.offset  position of cell 0
 * @param {string[]} axis.words
 * @param {boolean} axis.across
 * @param {number} axis.left
 * @param {number} axis.top
 * @param {string} axis.ink
 */
function drawAxis(context, { from, cells, pixels, offset, words, across, left, top, ink }) {
  const size = pixels / cells;
  context.fillStyle = context.strokeStyle = ink;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  const end = from + cells;
  const widest = context.measureText(formatInteger(end + offset)).width + LABEL_GAP;
  const named = words.length > 0 && size >= TOKENS_FROM;
  const step = named ? 1 : roundStep((across ? widest : LINE) / size);
  for (let cell = Math.ceil(from / step) * step; cell < end; cell += step) {
    const middle = (cell - from + (size >= MIDDLE_FROM ? 0.5 : 0)) * size;
    const position = cell + offset;
    const text = named ? shorten(words[position] ?? String(position)) : formatInteger(position);
    context.save();
    if (across && named) {
      context.translate(left + middle, top - 6);
      context.rotate(-Math.PI / 4);
      context.textAlign = "left";
      context.fillText(text, 0, 0);
    } else if (across) {
      // a label is never cut at the right edge
      if (middle + (widest - LABEL_GAP) / 2 <= pixels + RIGHT_MARGIN) {
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
