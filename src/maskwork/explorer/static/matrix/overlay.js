// What lies over the tiles: lines between cells, the border, and the cells that are pointed at and pinned.
// @ts-check

import { boxOf, pointOf } from "./frame.js";

/** @typedef {import("./frame.js").Frame} Frame */
/** @typedef {import("../state.js").Cell} Cell */
/** @typedef {{left: number, top: number, wide: number, high: number}} Area  of the matrix, in CSS pixels */

const LINES_FROM = 8; // device pixels per cell, from which lines between cells help
const MIN_OUTLINE = 3; // CSS pixels
const BAND_ALPHA = 0.12; // of the row and the column of a cell

/** @param {Frame} frame @returns {Area} */
function areaOf(frame) {
  const { wide, high } = boxOf(frame);
  const { left, top, dpr } = frame.room;
  return { left, top, wide: wide / dpr, high: high / dpr };
}

/**
 * Draw the lines, the border and the cells over a frame.
 * @param {CanvasRenderingContext2D} context
 * @param {Frame} frame
 * @param {{style: CSSStyleDeclaration, layers: OffscreenCanvas[], hovered: Cell|null, pinned: Cell|null}} options
 *   layers: patterns over two masks
 */
export function drawOverlay(context, frame, { style, layers, hovered, pinned }) {
  const { room, view } = frame;
  const { x, y } = boxOf(frame);
  const area = areaOf(frame);
  context.resetTransform();
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  for (const layer of layers) context.drawImage(layer, x, y);
  context.setTransform(room.dpr, 0, 0, room.dpr, 0, 0);
  if (view.zoom >= LINES_FROM) drawLines(context, area, view.zoom / room.dpr, style.getPropertyValue("--line"));
  context.strokeStyle = style.getPropertyValue("--muted");
  context.lineWidth = 1;
  context.strokeRect(area.left - 0.5, area.top - 0.5, area.wide + 1, area.high + 1);
  const mark = style.getPropertyValue("--mark");
  if (hovered) drawCell(context, frame, hovered, { area, colour: mark, line: 1.5 });
  if (pinned) drawCell(context, frame, pinned, { area, colour: mark, line: 2.5 });
}

/** @param {CanvasRenderingContext2D} context @param {Area} area @param {number} cell @param {string} colour */
function drawLines(context, { left, top, wide, high }, cell, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 0.5;
  context.beginPath();
  for (let x = cell; x < wide - 0.5; x += cell) {
    context.moveTo(left + x, top);
    context.lineTo(left + x, top + high);
  }
  for (let y = cell; y < high - 0.5; y += cell) {
    context.moveTo(left, top + y);
    context.lineTo(left + wide, top + y);
  }
  context.stroke();
}

/**
 * Outline a cell, with its row and its column as bands.
 * @param {CanvasRenderingContext2D} context
 * @param {Frame} frame
 * @param {Cell} cell
 * @param {{area: Area, colour: string, line: number}} options
 */
function drawCell(context, frame, cell, { area: { left, top, wide, high }, colour, line }) {
  const size = Math.max(frame.view.zoom / frame.room.dpr, MIN_OUTLINE);
  const { x, y } = pointOf(frame, cell);
  context.save();
  context.beginPath();
  context.rect(left - 1, top - 1, wide + 2, high + 2);
  context.clip();
  context.fillStyle = colour;
  context.globalAlpha = BAND_ALPHA;
  context.fillRect(left, y, wide, size);
  context.fillRect(x, top, size, high);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = line;
  context.strokeRect(x, y, size, size);
  context.restore();
}
