// Patterns over what only one of two masks allows, so that no colour is needed to tell the two apart.
// @ts-check

import { contextOf, css, palette } from "./paint.js";

const PERIOD = 6; // CSS pixels from a stripe, or dot, to the next
const REST = 120; // ms without a change of the picture, until patterns are laid over it

/** @typedef {import("./picture.js").Picture} Picture */
/** @typedef {import("./draw.js").PlacedPicture} PlacedPicture */
/** @typedef {import("./frame.js").Box} Box */

/** A canvas of a tile's pixels, each as opaque as the share of its pairs that only one mask allows.
 * @param {import("../api.js").Counts} counts @param {Picture} picture @returns {HTMLCanvasElement} */
function makeStencil(counts, { high, wide }) {
  const canvas = document.createElement("canvas");
  canvas.width = wide.length;
  canvas.height = high.length;
  const context = contextOf(canvas);
  const image = context.createImageData(canvas.width, canvas.height);
  const { data } = image;
  for (let i = 0, index = 0; i < high.length; i++) {
    for (let j = 0; j < wide.length; j++, index++) {
      if (counts[index]) data[index * 4 + 3] = Math.ceil((counts[index] / (high[i] * wide[j])) * 255);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** One period of the pattern: stripes for the left mask, dots for the right one. @param {number} side
 * @param {number} dpr */
function makeBrush(side, dpr) {
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
    for (let row = 0; row < edge; row += 1) context.fillRect((edge - row) % edge, row, size, 1);
  }
  return canvas;
}

/** The pattern of one side over the tiles, whose stencils were made. @param {number} side
 * @param {PlacedPicture[]} placed @param {Box} box @param {number} dpr @returns {OffscreenCanvas} of the box's size */
function makeLayer(side, placed, { x, y, wide, high }, dpr) {
  const layer = new OffscreenCanvas(wide, high);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (layer.getContext("2d"));
  context.imageSmoothingEnabled = false;
  for (const { picture, ...place } of placed) {
    context.drawImage(picture.sides[side], place.x - x, place.y - y, place.size, place.size);
  }
  context.globalCompositeOperation = "source-in";
  context.fillStyle = /** @type {CanvasPattern} */ (context.createPattern(makeBrush(side, dpr), "repeat"));
  context.fillRect(0, 0, wide, high);
  return layer;
}

/**
 * Create the two layers of patterns over two masks. They take long: they come once the picture rests, and one piece per
 * frame, the stencils of one tile or one layer.
 * @param {() => void} redraw draws the next frame
 */
export function createPatternLayers(redraw) {
  /** @type {PlacedPicture[]} */
  let placed = [];
  /** @type {OffscreenCanvas[]} */
  let layers = [];
  let place = ""; // where the picture was when it was drawn last
  let timer = 0; // while the picture moves

  const twoMasks = () => placed.some(({ picture }) => picture.counts.length > 1);
  const complete = () => !twoMasks() || layers.length === 2;

  return {
    complete,
    layers: () => layers,
    /** Start anew for tiles that were just drawn. @param {PlacedPicture[]} pictures
     * @param {import("../state.js").View} view */
    update(pictures, view) {
      placed = pictures;
      layers = [];
      const next = JSON.stringify([view, placed.length]);
      if (twoMasks() && next !== place) {
        clearTimeout(timer);
        timer = window.setTimeout(() => {
          timer = 0;
          redraw();
        }, REST);
      }
      place = next;
    },
    /** Make the next piece, if the picture rests. @param {Box} box of the matrix @param {number} dpr */
    advance(box, dpr) {
      if (timer || complete()) return;
      const uncut = placed.find(({ picture }) => !picture.sides.length)?.picture;
      if (uncut) uncut.sides = uncut.counts.slice(1).map((counts) => makeStencil(counts, uncut));
      else layers.push(makeLayer(layers.length, placed, box, dpr));
      redraw();
    },
  };
}
