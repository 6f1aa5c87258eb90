// Which cells are on the canvas. Zoom goes in steps that keep a pixel whole cells, or a cell whole pixels.
// @ts-check

/** @typedef {import("./state.js").View} View */

const MOST_PIXELS = 64;

/** Cells under a pixel: 1, or a power of two. @param {number} zoom */
export const stepOf = (zoom) => (zoom >= 1 ? 1 : Math.round(1 / zoom));

/** The nearest zoom that is drawn exactly. @param {number} zoom */
export function exact(zoom) {
  if (zoom >= 1) return Math.min(MOST_PIXELS, Math.max(1, Math.floor(zoom)));
  return 2 ** -Math.ceil(-Math.log2(zoom));
}

/** The zoom that shows all of it. @param {number} cells @param {number} pixels */
export const fitting = (cells, pixels) => exact(Math.max(pixels, 1) / Math.max(cells, 1));

/** One step in or out. @param {number} zoom @param {number} direction @param {number} least */
export function nextZoom(zoom, direction, least) {
  if (direction > 0) return zoom < 1 ? zoom * 2 : Math.min(MOST_PIXELS, Math.max(zoom + 1, Math.round(zoom * 1.4)));
  const out = zoom <= 1 ? zoom / 2 : Math.max(1, Math.min(zoom - 1, Math.round(zoom / 1.4)));
  return Math.max(out, least);
}

/** Inside the grid, and on whole pixels.
 * @param {View} view @param {number} qLen @param {number} kvLen @param {number} wide @param {number} high
 * @returns {View} */
export function clamped(view, qLen, kvLen, wide, high) {
  const step = stepOf(view.zoom);
  /** @param {number} at @param {number} cells @param {number} pixels */
  const along = (at, cells, pixels) => {
    const most = Math.ceil(Math.max(0, cells - Math.floor(pixels / view.zoom)) / step) * step;
    const inside = Math.min(Math.max(0, at), most);
    return Math.floor(inside / step) * step;
  };
  return { q: along(view.q, qLen, high), k: along(view.k, kvLen, wide), zoom: view.zoom };
}
