// A heat map of attention weights: forbidden cells are hatched, and any weight on one is painted as an alarm.
// @ts-check

import { contextOf, css, palette } from "../matrix/paint.js";
import { drawCross, drawDiagonal } from "./canvas.js";
import { make } from "./parts.js";

const MAX_WIDTH = 448; // CSS pixels of the map
const SIGNS_FROM = 5; // CSS pixels per cell, from which hatching and crosses are drawn

/**
 * @typedef {object} Weights
 * @property {string[]} tokens
 * @property {Float64Array} values  row by row, queries by keys
 * @property {string[]} allowed  a text of 0 and 1 for each query
 * @property {{query: number, key: number|null}[]} findings  cells that the audit names
 */
/** @typedef {{line: string, bad: string, card: string, mark: string, ink: string, none: string, all: string}} Inks */

/** The share of a colour that a weight gets: its root, so that small weights are seen beside large ones.
 * @param {number} weight */
const strength = (weight) => Math.sqrt(Math.min(Math.max(weight, 0), 1));

/** A weight as exactly as a float64 is written. @param {number} weight */
const formatWeight = (weight) => (weight === 0 ? "0 (exactly)" : String(weight));

/** @param {Weights} weights @param {number} q @param {number} k */
const cellOf = ({ values, allowed, tokens }, q, k) => ({
  weight: values[q * tokens.length + k],
  allowed: allowed[q][k] === "1",
});

/** @param {HTMLElement} root @returns {Inks} */
function inksOf(root) {
  const style = getComputedStyle(root);
  const { none, all } = palette();
  const [line, bad, card, mark, ink] = ["--line", "--bad", "--card", "--mark", "--ink"].map((name) =>
    style.getPropertyValue(name),
  );
  return { line, bad, card, mark, ink, none: css(none), all: css(all) };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ReturnType<typeof cellOf>} cell
 * @param {import("./canvas.js").Square} square
 * @param {Inks} inks
 * @param {boolean} signs
 */
function drawWeight(context, { weight, allowed }, square, inks, signs) {
  const { x, y, size } = square;
  if (allowed) {
    context.globalAlpha = strength(weight);
    context.fillStyle = inks.all;
    context.fillRect(x, y, size, size);
    context.globalAlpha = 1;
  } else if (weight === 0) {
    context.fillStyle = inks.line;
    if (size >= SIGNS_FROM) drawDiagonal(context, square, inks.line);
    else if ((x + y) % 2 === 0) context.fillRect(x, y, 1, 1);
  } else {
    context.fillStyle = inks.bad;
    context.fillRect(x, y, size, size);
    if (signs) drawCross(context, square, inks.card);
  }
}

/** @param {CanvasRenderingContext2D} context @param {{q: number, k: number}} cell @param {number} step
 * @param {string} colour */
function drawFrame(context, { q, k }, step, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(k * step, q * step, Math.max(step - 1, 2), Math.max(step - 1, 2));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Weights} weights
 * @param {number} step CSS pixels of a cell
 * @param {{q: number, k: number}|null} cursor
 * @param {Inks} inks
 */
function drawMap(canvas, weights, step, cursor, inks) {
  const [side, dpr] = [weights.tokens.length, devicePixelRatio || 1];
  const wide = side * step;
  canvas.dataset.cells = String(side); // for tests, to find a cell
  canvas.width = canvas.height = Math.round(wide * dpr);
  canvas.style.width = canvas.style.height = `${wide}px`;
  const context = contextOf(canvas);
  context.scale(dpr, dpr);
  context.fillStyle = inks.none;
  context.fillRect(0, 0, wide, wide);
  const size = step - (step > SIGNS_FROM ? 1 : 0);
  for (let q = 0; q < side; q += 1) {
    for (let k = 0; k < side; k += 1) {
      const square = { x: k * step, y: q * step, size };
      drawWeight(context, cellOf(weights, q, k), square, inks, step >= SIGNS_FROM);
    }
  }
  for (const { query, key } of weights.findings) {
    if (key !== null) drawFrame(context, { q: query, k: key }, step, inks.mark);
  }
  if (cursor) drawFrame(context, cursor, step, inks.ink);
}

/**
 * Create a heat map, with the exact weight of the cell under the cursor below it.
 * @param {import("../main.js").App} app
 */
export function createHeatMap(app) {
  const canvas = make("canvas", "weights");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Weights of queries, down, and keys, across. Arrow keys go from cell to cell.");
  const readout = make("p", "hint readout");
  readout.setAttribute("role", "status");
  const root = make("div", "", canvas, readout);
  /** @type {Weights|null} */
  let shown = null;
  /** @type {{q: number, k: number}|null} */
  let cursor = null;

  /** CSS pixels of a cell. @param {Weights} weights */
  const stepOf = ({ tokens }) => {
    const wide = Math.min(MAX_WIDTH, root.clientWidth || MAX_WIDTH);
    return Math.max(1, Math.floor(wide / tokens.length));
  };

  function draw() {
    if (shown) drawMap(canvas, shown, stepOf(shown), cursor, inksOf(root));
  }

  function read() {
    if (!shown || !cursor) {
      readout.textContent = "Point at a cell, or move with the arrow keys, for its exact weight.";
      return;
    }
    const { weight, allowed } = cellOf(shown, cursor.q, cursor.k);
    const place = `query ${cursor.q} “${shown.tokens[cursor.q]}”, key ${cursor.k} “${shown.tokens[cursor.k]}”: `;
    const verdict = allowed ? "allowed" : weight === 0 ? "forbidden" : "⚠ forbidden, and it has weight";
    readout.textContent = `${place}${formatWeight(weight)}, ${verdict}`;
    readout.classList.toggle("bad", !allowed && weight !== 0);
  }

  /** @param {number} q @param {number} k */
  function go(q, k) {
    if (!shown) return;
    const last = shown.tokens.length - 1;
    cursor = { q: Math.min(Math.max(q, 0), last), k: Math.min(Math.max(k, 0), last) };
    draw();
    read();
  }

  canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
    if (shown) go(Math.floor(offsetY / stepOf(shown)), Math.floor(offsetX / stepOf(shown)));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    if (cursor) go(cursor.q + step[0], cursor.k + step[1]);
    else go(0, 0);
  });
  app.onTheme(draw);
  new ResizeObserver(draw).observe(root);
  read();

  return {
    root,
    go,
    /** @param {Weights} weights */
    show(weights) {
      shown = weights;
      if (cursor && Math.max(cursor.q, cursor.k) >= weights.tokens.length) cursor = null;
      draw();
      read();
    },
  };
}
