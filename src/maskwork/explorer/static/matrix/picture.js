// A tile's counts as a picture in the theme's colours.
// @ts-check

import { contextOf, fourWay, palette, pixel, ramp } from "./paint.js";

/** Pixels along a side of a tile. */
export const TILE = 256;

/** @typedef {import("../api.js").Counts} Counts */
/** @typedef {{qLen: number, kvLen: number}} Extent  of the grid */
/**
 * @typedef {object} Tile
 * @property {Counts[]} counts  one plane, or three: both, only left, only right
 * @property {Picture|null} picture  null until it is painted in the theme's colours
 * @property {number} q0  first query, counted from the grid's first
 * @property {number} k0
 * @property {number} step  cells under a pixel
 */
/**
 * @typedef {object} Picture
 * @property {HTMLCanvasElement} canvas
 * @property {Counts[]} counts  of its tile
 * @property {Float64Array} high  queries under each row of pixels
 * @property {Float64Array} wide  keys under each column of pixels
 * @property {HTMLCanvasElement[]} sides  what only one of two masks allows, as stencils for patterns; empty until cut
 */

/** Cells under each pixel of a side, which the grid's end may cut short. @param {number} from @param {number} step
 * @param {number} end */
function cellsUnderPixels(from, step, end) {
  const edge = (/** @type {number} */ pixelEdge) => Math.min(from + Math.floor(pixelEdge * step), end);
  return Float64Array.from({ length: TILE }, (_, index) => edge(index + 1) - edge(index));
}

/**
 * Paint a tile.
 * @param {Tile} tile
 * @param {Extent} extent
 * @returns {Picture}
 */
export function paintTile({ counts, q0, k0, step }, { qLen, kvLen }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = TILE;
  const context = contextOf(canvas);
  const image = context.createImageData(TILE, TILE);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = palette();
  const [first, left, right] = counts;
  const high = cellsUnderPixels(q0, step, qLen);
  const wide = cellsUnderPixels(k0, step, kvLen);
  // Neighbours are often alike: their colour is computed once.
  let [lastCells, lastFirst, lastLeft, lastRight] = [-1, -1, -1, -1];
  let colour = 0;
  for (let i = 0, index = 0; i < TILE; i++) {
    for (let j = 0; j < TILE; j++, index++) {
      const cells = high[i] * wide[j];
      if (!cells) continue;
      const sidesChanged = left && (left[index] !== lastLeft || right[index] !== lastRight);
      if (cells !== lastCells || first[index] !== lastFirst || sidesChanged) {
        lastCells = cells;
        lastFirst = first[index];
        if (left) {
          lastLeft = left[index];
          lastRight = right[index];
          colour = pixel(fourWay(lastFirst, lastLeft, lastRight, cells, colours));
        } else {
          colour = pixel(ramp(lastFirst, cells, colours));
        }
      }
      pixels[index] = colour;
    }
  }
  context.putImageData(image, 0, 0);
  return { canvas, counts, high, wide, sides: [] };
}
