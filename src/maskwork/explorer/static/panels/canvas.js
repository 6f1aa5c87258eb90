// Drawing in CSS pixels on a sharp canvas, and the signs that panels draw on cells.
// @ts-check

import { contextOf } from "../matrix/paint.js";

/**
 * Size a canvas in CSS pixels, sharp on any screen, and return its context.
 * @param {HTMLCanvasElement} canvas
 * @param {number} wide
 * @param {number} high
 */
export function sizeCanvas(canvas, wide, high) {
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * dpr);
  canvas.height = Math.round(high * dpr);
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const context = contextOf(canvas);
  context.scale(dpr, dpr);
  return context;
}

/** @typedef {{x: number, y: number, size: number}} Square */

/**
 * Hatch a square with many lines.
 * @param {CanvasRenderingContext2D} context
 * @param {Square} square
 * @param {string} ink
 */
export function drawHatching(context, { x, y, size }, ink) {
  context.save();
  context.beginPath();
  context.rect(x, y, size, size);
  context.clip();
  context.beginPath();
  for (let start = -size; start < size; start += 3) {
    context.moveTo(x + start, y + size);
    context.lineTo(x + start + size, y);
  }
  context.strokeStyle = ink;
  context.lineWidth = 0.8;
  context.stroke();
  context.restore();
}

/**
 * Draw one diagonal of a square.
 * @param {CanvasRenderingContext2D} context
 * @param {Square} square
 * @param {string} ink
 */
export function drawDiagonal(context, { x, y, size }, ink) {
  context.strokeStyle = ink;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, y + size);
  context.lineTo(x + size, y);
  context.stroke();
}

/**
 * Draw both diagonals of a square.
 * @param {CanvasRenderingContext2D} context
 * @param {Square} square
 * @param {string} ink
 */
export function drawCross(context, { x, y, size }, ink) {
  context.strokeStyle = ink;
  context.lineWidth = Math.max(1, size / 8);
  context.beginPath();
  for (const [from, to] of [[y, y + size], [y + size, y]]) {
    context.moveTo(x, from);
    context.lineTo(x + size, to);
  }
  context.stroke();
}
