// Patterns over what only one of two masks allows, so that no colour is needed to tell them apart.
// @ts-check

import { css, palette } from "./paint.js";

const PERIOD = 6; // CSS pixels from a stripe, or dot, to the next

/** @typedef {{sides: HTMLCanvasElement[], x: number, y: number, size: number}} Placed  in device pixels */

/** A canvas of a square's pixels, each as opaque as the share of its pairs that only one mask allows.
 * @param {Float64Array} counts @param {Float64Array} pairs @returns {HTMLCanvasElement} */
export function stencil(counts, pairs) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.sqrt(counts.length);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  counts.forEach((count, at) => {
    if (count) image.data[at * 4 + 3] = Math.ceil((count / pairs[at]) * 255);
  });
  context.putImageData(image, 0, 0);
  return canvas;
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

/** @param {CanvasRenderingContext2D} context in device pixels @param {Placed[]} placed
 * @param {{x: number, y: number, wide: number, high: number}} box @param {number} dpr */
export function drawSides(context, placed, { x, y, wide, high }, dpr) {
  const layer = new OffscreenCanvas(wide, high);
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (layer.getContext("2d"));
  pen.imageSmoothingEnabled = false;
  for (const side of [0, 1]) {
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, wide, high);
    for (const one of placed) pen.drawImage(one.sides[side], one.x - x, one.y - y, one.size, one.size);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = /** @type {CanvasPattern} */ (pen.createPattern(brush(side, dpr), "repeat"));
    pen.fillRect(0, 0, wide, high);
    context.drawImage(layer, x, y);
  }
}
