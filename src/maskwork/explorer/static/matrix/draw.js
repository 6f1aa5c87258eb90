// Draws the tiles of a frame.
// @ts-check

import { boxOf } from "./frame.js";
import { css, palette } from "./paint.js";
import { TILE } from "./picture.js";
import { pixelsOf, stepOf } from "./view.js";

/** @typedef {import("./picture.js").Picture} Picture */
/** @typedef {{picture: Picture, x: number, y: number, size: number}} PlacedPicture  in device pixels */

const EMPTY_ALPHA = 0.4; // of the ground, where tiles are on their way

/**
 * Draw the tiles of a frame, and the ground where tiles are on their way; give up tiles that the frame does not need.
 * @param {CanvasRenderingContext2D} context in device pixels
 * @param {import("./frame.js").Frame} frame
 * @param {ReturnType<typeof import("./tiles.js").createTiles>} tiles
 * @param {string} alsoNeeded name of the small map's tile
 * @returns {PlacedPicture[]} what was drawn
 */
export function drawTiles(context, frame, tiles, alsoNeeded) {
  const { view } = frame;
  const { x: x0, y: y0, wide, high } = boxOf(frame);
  context.resetTransform();
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.save();
  context.beginPath();
  context.rect(x0, y0, wide, high);
  context.clip();
  context.imageSmoothingEnabled = false;
  context.fillStyle = css(palette().none);
  context.globalAlpha = EMPTY_ALPHA;
  context.fillRect(x0, y0, wide, high);
  context.globalAlpha = 1;
  const step = stepOf(view.zoom);
  const side = TILE * step;
  const size = pixelsOf(side, view.zoom);
  /** @param {number} cells */
  const pixels = (cells) => pixelsOf(cells, view.zoom);
  /** @type {PlacedPicture[]} */
  const placed = [];
  const needed = new Set([alsoNeeded]);
  for (let row = Math.floor(view.q / side); pixels(row * side - view.q) < high; row++) {
    for (let column = Math.floor(view.k / side); pixels(column * side - view.k) < wide; column++) {
      needed.add(tiles.name(step, row, column));
      const picture = tiles.get(step, row, column, frame);
      const [x, y] = [x0 + pixels(column * side - view.k), y0 + pixels(row * side - view.q)];
      if (!picture) continue;
      context.drawImage(picture.canvas, x, y, size, size);
      placed.push({ picture, x, y, size });
    }
  }
  tiles.giveUpOthers(needed);
  context.restore();
  // What a test needs to find the pixel of a cell.
  const { dataset } = /** @type {HTMLCanvasElement} */ (context.canvas);
  Object.assign(dataset, { x: x0, y: y0, wide, high, q: view.q, k: view.k, zoom: view.zoom, step });
  return placed;
}
