// Patterns over what only one of two masks allows, so that no colour is needed to tell them apart.
// @ts-check

import { css, palette } from "./paint.js";

const PERIOD = 6; // CSS pixels from a stripe, or dot, to the next

/** @typedef {import("./tiles.js").Picture} Picture */
/** @typedef {{picture: Picture, x: number, y: number, size: number}} Placed  in device pixels */

/** A canvas of a square's pixels, each as opaque as the share of its pairs that only one mask allows.
 * @param {import("../api.js").Counts} counts @param {Picture} picture @returns {HTMLCanvasElement} */
function stencil(counts, { high, wide }) {
  const canvas = document.createElement("canvas");
  canvas.width = wide.length;
  canvas.height = high.length;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  const { data } = image;
  for (let i = 0, at = 0; i < high.length; i++) {
    for (let j = 0; j < wide.length; j++, at++) {
      if (counts[at]) data[at * 4 + 3] = Math.ceil((counts[at] / (high[i] * wide[j])) * 255);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Cut out what only one of two masks allows. @param {Picture} picture */
export function cut(picture) {
  picture.sides = picture.counts.slice(1).map((counts) => stencil(counts, picture));
}

/** Stripes for the left mask, dots for the right one. @param {number} side @param {number} dpr */
function brush(side, dpr) {
  const edge = Math.round(PERIOD * dpr);
  const canvas = new OffscreenCanvas(edge, edge);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { stripe, dot } = palette();
  context.fillStyle = css(side ? dot : stripe);
  if (side) {
    const size = Math.round(edge / 3);
    context.fillRect(0, 0, size, size);
    context.fillRect(Math.round(edge / 2), Math.round(edge / 2), size, size);
  } else {
    const size = Math.max(1, Math.round(dpr * 1.2));
    for (let at = 0; at < edge; at += 1) context.fillRect((edge - at) % edge, at, size, 1);
  }
  return canvas;
}

/** What lies over the tiles, which were cut, to tell one side. @param {number} side @param {Placed[]} placed
 * @param {{x: number, y: number, wide: number, high: number}} box in device pixels @param {number} dpr
 * @returns {OffscreenCanvas} of the box's size */
export function pattern(side, placed, { x, y, wide, high }, dpr) {
  const layer = new OffscreenCanvas(wide, high);
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (layer.getContext("2d"));
  pen.imageSmoothingEnabled = false;
  for (const { picture, ...at } of placed) {
    pen.drawImage(picture.sides[side], at.x - x, at.y - y, at.size, at.size);
  }
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = /** @type {CanvasPattern} */ (pen.createPattern(brush(side, dpr), "repeat"));
  pen.fillRect(0, 0, wide, high);
  return layer;
}
