// Which cells are on the canvas. A cell is whole pixels; further out a pixel is whole cells, or its edges go by eighths
// of a cell and are rounded down, so that the whole nearly fills its room and each cell is still counted once.
// @ts-check

/** @typedef {import("../state.js").View} View */

const MOST_PIXELS = 64;

const PARTS = 8; // binary fractions, which are exact in floating point

/** Cells under a pixel, 1 and more: a whole number, or so many eighths. @param {number} zoom */
export function stepOf(zoom) {
  if (zoom >= 1) return 1;
  return 1 / zoom < PARTS ? Math.round(PARTS / zoom) / PARTS : Math.round(1 / zoom);
}

/** The step as a whole number of cells for so many pixels. @param {number} step */
export const ratio = (step) => (Number.isInteger(step) ? { step, shrink: 1 } : { step: step * PARTS, shrink: PARTS });

/** Pixels that cells take. @param {number} cells @param {number} zoom */
export const pixelsOf = (cells, zoom) => (zoom >= 1 ? cells * zoom : cells / stepOf(zoom));

/** The nearest zoom out that is drawn exactly. @param {number} zoom */
export function exact(zoom) {
  if (zoom >= 1) return Math.min(MOST_PIXELS, Math.max(1, Math.floor(zoom)));
  const parts = 1 / zoom < PARTS ? PARTS : 1;
  return parts / Math.ceil(parts / zoom - 1e-6); // what is exact stays what it is
}

/** The zoom that shows all of it. @param {number} cells @param {number} pixels */
export const fitting = (cells, pixels) => exact(Math.max(pixels, 1) / Math.max(cells, 1));

/** One step in or out. @param {number} zoom @param {number} direction @param {number} least */
export function nextZoom(zoom, direction, least) {
  if (direction > 0) return zoom < 1 ? exact(zoom * 2) : Math.min(MOST_PIXELS, Math.max(zoom + 1, Math.round(zoom * 1.4)));
  const out = zoom <= 1 ? exact(zoom / 2) : Math.max(1, Math.min(zoom - 1, Math.round(zoom / 1.4)));
  return Math.max(out, least);
}

/** Inside the grid, and on whole pixels.
 * @param {View} view @param {number} qLen @param {number} kvLen @param {number} wide @param {number} high
 * @returns {View} */
export function clamped(view, qLen, kvLen, wide, high) {
  const step = stepOf(view.zoom);
  /** @param {number} at @param {number} cells @param {number} pixels */
  const along = (at, cells, pixels) => {
    const room = view.zoom < 1 ? pixels * step : Math.floor(pixels / view.zoom);
    const most = Math.ceil(Math.max(0, cells - room) / step) * step;
    const inside = Math.min(Math.max(0, at), most);
    return Math.floor(inside / step) * step;
  };
  return { q: along(view.q, qLen, high), k: along(view.k, kvLen, wide), zoom: view.zoom };
}
