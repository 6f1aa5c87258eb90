// Zoom and view. A cell takes whole pixels. Further out a pixel takes whole cells, or the edges of pixels go by eighths
// of a cell and are rounded down: the matrix nearly fills its room, and each cell is still counted once.
// @ts-check

import { ranges } from "../ranges.js";

/** @typedef {import("../state.js").View} View */

const MAX_ZOOM = 64; // pixels per cell

const PARTS = ranges.shrink.high; // of a cell: a power of two, so that fractions are exact in floating point

/**
 * Return the cells under a pixel, 1 and more: a whole number, or a number of eighths.
 * @param {number} zoom
 */
export function stepOf(zoom) {
  if (zoom >= 1) return 1;
  return 1 / zoom < PARTS ? Math.round(PARTS / zoom) / PARTS : Math.round(1 / zoom);
}

/**
 * Return the step as whole cells (`step`) under a number of pixels (`shrink`).
 * @param {number} step
 */
export const ratioOf = (step) => (Number.isInteger(step) ? { step, shrink: 1 } : { step: step * PARTS, shrink: PARTS });

/**
 * Return the pixels that cells take.
 * @param {number} cells
 * @param {number} zoom
 */
export const pixelsOf = (cells, zoom) => (zoom >= 1 ? cells * zoom : cells / stepOf(zoom));

/**
 * Return the nearest zoom, no nearer than this one, that is drawn exactly.
 * @param {number} zoom
 */
export function exactZoom(zoom) {
  if (zoom >= 1) return Math.min(MAX_ZOOM, Math.max(1, Math.floor(zoom)));
  const parts = 1 / zoom < PARTS ? PARTS : 1;
  return parts / Math.ceil(parts / zoom - 1e-6); // an exact zoom stays as it is
}

/**
 * Return the zoom at which all cells fit.
 * @param {number} cells
 * @param {number} pixels
 */
export const fittingZoom = (cells, pixels) => exactZoom(Math.max(pixels, 1) / Math.max(cells, 1));

/**
 * Return the zoom one step nearer or further.
 * @param {number} zoom
 * @param {number} direction above 0: nearer
 * @param {number} least
 */
export function nextZoom(zoom, direction, least) {
  if (direction > 0) {
    return zoom < 1 ? exactZoom(zoom * 2) : Math.min(MAX_ZOOM, Math.max(zoom + 1, Math.round(zoom * 1.4)));
  }
  const further = zoom <= 1 ? exactZoom(zoom / 2) : Math.max(1, Math.min(zoom - 1, Math.round(zoom / 1.4)));
  return Math.max(further, least);
}

/**
 * Move a view inside the grid, and to whole pixels.
 * @param {View} view
 * @param {number} qLen
 * @param {number} kvLen
 * @param {number} wide pixels
 * @param {number} high
 * @returns {View}
 */
export function clampView(view, qLen, kvLen, wide, high) {
  const step = stepOf(view.zoom);
  /** @param {number} start @param {number} cells @param {number} pixels */
  const clamp = (start, cells, pixels) => {
    const room = view.zoom < 1 ? pixels * step : Math.floor(pixels / view.zoom);
    const most = Math.ceil(Math.max(0, cells - room) / step) * step;
    const inside = Math.min(Math.max(0, start), most);
    return Math.floor(inside / step) * step;
  };
  return { q: clamp(view.q, qLen, high), k: clamp(view.k, kvLen, wide), zoom: view.zoom };
}
