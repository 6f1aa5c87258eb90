// One frame of the matrix: the grid, the view and the room on the canvas, and where each cell is. Pure functions.
// @ts-check

import { firstQuery } from "../state.js";
import { clampView, exactZoom, fittingZoom, nextZoom, pixelsOf, stepOf } from "./view.js";

/** @typedef {import("../state.js").View} View */
/** @typedef {import("../state.js").Cell} Cell */
/**
 * @typedef {object} Room  what the matrix may take of its canvases
 * @property {number} left  CSS pixels from the canvas's left edge
 * @property {number} top
 * @property {number} wide  device pixels
 * @property {number} high
 * @property {number} dpr  device pixels of a CSS pixel
 */
/**
 * @typedef {object} Frame
 * @property {Room} room
 * @property {number} qLen
 * @property {number} kvLen
 * @property {number} qStart  position of the first query
 * @property {number} minZoom  shows the full matrix
 * @property {View} view  top left cell, counted from the grid's, and pixels per cell
 */
/** @typedef {{x: number, y: number, wide: number, high: number}} Box  in device pixels of the canvas */

/**
 * Return the frame of a state in a room.
 * @param {Readonly<import("../state.js").State>} state
 * @param {Room} room
 * @returns {Frame}
 */
export function frameOf(state, room) {
  const [qLen, kvLen] = [state.qLen ?? state.length, state.length];
  const minZoom = Math.min(fittingZoom(kvLen, room.wide), fittingZoom(qLen, room.high));
  const wanted = state.view ?? { q: 0, k: 0, zoom: minZoom };
  const view = { ...wanted, zoom: Math.max(exactZoom(wanted.zoom), minZoom) };
  const frame = { room, qLen, kvLen, qStart: firstQuery(state), minZoom, view };
  return { ...frame, view: insideGrid(frame, view) };
}

/**
 * Move a view inside the grid of a frame.
 * @param {Frame} frame
 * @param {View} view
 */
export const insideGrid = ({ qLen, kvLen, room }, view) => clampView(view, qLen, kvLen, room.wide, room.high);

/**
 * Return the part of the canvas that the matrix takes.
 * @param {Frame} frame
 * @returns {Box}
 */
export function boxOf({ room, qLen, kvLen, view }) {
  return {
    x: Math.round(room.left * room.dpr),
    y: Math.round(room.top * room.dpr),
    wide: Math.min(room.wide, Math.ceil(pixelsOf(kvLen - view.k, view.zoom))),
    high: Math.min(room.high, Math.ceil(pixelsOf(qLen - view.q, view.zoom))),
  };
}

/** The first cell of a pixel. @param {number} start of the view @param {number} pixel @param {number} zoom */
const firstCell = (start, pixel, zoom) =>
  Math.floor(zoom < 1 ? start + Math.floor(pixel) * stepOf(zoom) : start + pixel / zoom);

/**
 * Return the cell at a point of the canvas, null outside the matrix.
 * @param {Frame} frame
 * @param {number} x CSS pixels
 * @param {number} y
 * @returns {Cell|null}
 */
export function cellAt(frame, x, y) {
  const { room, view, qLen, kvLen, qStart } = frame;
  const { wide, high } = boxOf(frame);
  const [right, below] = [(x - room.left) * room.dpr, (y - room.top) * room.dpr];
  if (right < 0 || below < 0 || right >= wide || below >= high) return null;
  // The last pixel may reach beyond the last cell.
  const q = Math.min(firstCell(view.q, below, view.zoom), qLen - 1);
  return { q: qStart + q, k: Math.min(firstCell(view.k, right, view.zoom), kvLen - 1) };
}

/**
 * Return where a cell is on the canvas, in CSS pixels.
 * @param {Frame} frame
 * @param {Cell} cell
 */
export function pointOf({ room, view, qStart }, { q, k }) {
  return {
    x: room.left + ((k - view.k) * view.zoom) / room.dpr,
    y: room.top + ((q - qStart - view.q) * view.zoom) / room.dpr,
  };
}

/**
 * Return the view one step nearer or further, in which the point stays where it is.
 * @param {Frame} frame
 * @param {number} direction above 0: nearer
 * @param {number} x CSS pixels
 * @param {number} y
 * @returns {View}
 */
export function zoomedView({ room, view, minZoom }, direction, x, y) {
  const zoom = nextZoom(view.zoom, direction, minZoom);
  const [right, below] = [Math.max(0, (x - room.left) * room.dpr), Math.max(0, (y - room.top) * room.dpr)];
  return {
    q: view.q + below / view.zoom - below / zoom,
    k: view.k + right / view.zoom - right / zoom,
    zoom,
  };
}

/**
 * Return a view moved by CSS pixels.
 * @param {Frame} frame
 * @param {View} view
 * @param {number} x
 * @param {number} y
 * @returns {View}
 */
export const pannedView = ({ room: { dpr } }, view, x, y) => ({
  ...view,
  q: view.q - (y * dpr) / view.zoom,
  k: view.k - (x * dpr) / view.zoom,
});

/**
 * Return a view that shows the cell, null where the frame shows it.
 * @param {Frame} frame
 * @param {Cell} cell
 * @returns {View|null}
 */
export function viewOn(frame, cell) {
  const { view, qStart } = frame;
  const { wide, high } = boxOf(frame);
  const [across, down] = [wide / view.zoom, high / view.zoom];
  const row = cell.q - qStart;
  const next = { ...view };
  if (row < view.q || row >= view.q + down) next.q = row - down / 2;
  if (cell.k < view.k || cell.k >= view.k + across) next.k = cell.k - across / 2;
  return next.q === view.q && next.k === view.k ? null : next;
}
