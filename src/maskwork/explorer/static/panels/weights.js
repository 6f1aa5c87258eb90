// A heat map of attention weights: forbidden cells are hatched, and any weight on one is painted as an alarm.
// @ts-check

import { css, palette } from "../matrix/paint.js";
import { made } from "./parts.js";

const WIDEST = 448; // CSS pixels of the map
const DRAWN = 5; // px a cell from which hatching and signs are drawn

/**
 * @typedef {object} Weights
 * @property {string[]} tokens
 * @property {Float64Array} values  row by row, queries by keys
 * @property {string[]} allowed  a text of 0 and 1 for each query
 * @property {{query: number, key: number|null}[]} findings  cells that the audit names
 */

/** The share of a colour that a weight gets: its root, so that small weights are seen beside large ones.
 * @param {number} weight */
export const strength = (weight) => Math.sqrt(Math.min(Math.max(weight, 0), 1));

/** A weight as exactly as a float64 is written. @param {number} weight */
const written = (weight) => (weight === 0 ? "0 (exactly)" : String(weight));

/** @param {import("../main.js").App} app */
export function createHeatMap(app) {
  const canvas = made("canvas", "weights");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Weights of queries, down, and keys, across. Arrow keys go from cell to cell.");
  const said = made("p", "hint readout");
  said.setAttribute("role", "status");
  const root = made("div", "", canvas, said);
  /** @type {Weights|null} */
  let shown = null;
  /** @type {{q: number, k: number}|null} */
  let at = null;

  const side = () => /** @type {Weights} */ (shown).tokens.length;
  const size = () => Math.max(1, Math.floor(Math.min(WIDEST, root.clientWidth || WIDEST) / side()));

  /** @param {number} q @param {number} k */
  const cell = (q, k) => {
    const { values, allowed } = /** @type {Weights} */ (shown);
    return { weight: values[q * side() + k], may: allowed[q][k] === "1" };
  };

  function draw() {
    if (!shown) return;
    const [edge, step, dpr] = [side(), size(), devicePixelRatio || 1];
    const wide = edge * step;
    canvas.dataset.cells = String(edge); // for tests, to find a cell
    canvas.width = canvas.height = Math.round(wide * dpr);
    canvas.style.width = canvas.style.height = `${wide}px`;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(dpr, dpr);
    const style = getComputedStyle(root);
    const ink = { line: style.getPropertyValue("--line"), bad: style.getPropertyValue("--bad"), card: style.getPropertyValue("--card"),
      mark: style.getPropertyValue("--mark"), ...palette() };
    context.fillStyle = css(ink.none);
    context.fillRect(0, 0, wide, wide);
    const gap = step > DRAWN ? 1 : 0;
    for (let q = 0; q < edge; q += 1) {
      for (let k = 0; k < edge; k += 1) {
        const { weight, may } = cell(q, k);
        const [x, y, inner] = [k * step, q * step, step - gap];
        if (may) {
          context.globalAlpha = strength(weight);
          context.fillStyle = css(ink.all);
          context.fillRect(x, y, inner, inner);
          context.globalAlpha = 1;
        } else if (weight === 0) {
          hatch(context, x, y, inner, ink.line);
        } else {
          context.fillStyle = ink.bad;
          context.fillRect(x, y, inner, inner);
          if (step >= DRAWN) cross(context, x, y, inner, ink.card);
        }
      }
    }
    context.lineWidth = 2;
    for (const { query, key } of shown.findings) {
      if (key !== null) frame(context, query, key, step, ink.mark);
    }
    if (at) frame(context, at.q, at.k, step, style.getPropertyValue("--ink"));
  }

  function say() {
    if (!shown || !at) {
      said.textContent = "Point at a cell, or move with the arrow keys, for its exact weight.";
      return;
    }
    const { weight, may } = cell(at.q, at.k);
    const place = `query ${at.q} “${shown.tokens[at.q]}”, key ${at.k} “${shown.tokens[at.k]}”: `;
    const verdict = may ? "allowed" : weight === 0 ? "forbidden" : "⚠ forbidden, and it has weight";
    said.textContent = `${place}${written(weight)}, ${verdict}`;
    said.classList.toggle("bad", !may && weight !== 0);
  }

  /** @param {number} q @param {number} k */
  function go(q, k) {
    if (!shown) return;
    /** @param {number} index */
    const inside = (index) => Math.min(Math.max(index, 0), side() - 1);
    at = { q: inside(q), k: inside(k) };
    draw();
    say();
  }

  canvas.addEventListener("pointermove", (event) => {
    if (shown) go(Math.floor(event.offsetY / size()), Math.floor(event.offsetX / size()));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    go((at?.q ?? 0) + (at ? step[0] : 0), (at?.k ?? 0) + (at ? step[1] : 0));
  });
  app.onTheme(draw);
  new ResizeObserver(draw).observe(root);
  say();

  return {
    root,
    go,
    /** @param {Weights} weights */
    show(weights) {
      shown = weights;
      if (at && Math.max(at.q, at.k) >= side()) at = null;
      draw();
      say();
    },
  };
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size @param {string} colour */
function hatch(context, x, y, size, colour) {
  context.fillStyle = context.strokeStyle = colour;
  if (size < DRAWN) {
    if ((x + y) % 2 === 0) context.fillRect(x, y, 1, 1);
    return;
  }
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, y + size);
  context.lineTo(x + size, y);
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size @param {string} colour */
function cross(context, x, y, size, colour) {
  context.strokeStyle = colour;
  context.lineWidth = Math.max(1, size / 8);
  context.beginPath();
  for (const [from, to] of [[y, y + size], [y + size, y]]) {
    context.moveTo(x, from);
    context.lineTo(x + size, to);
  }
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {number} q @param {number} k @param {number} step @param {string} colour */
function frame(context, q, k, step, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(k * step, q * step, Math.max(step - 1, 2), Math.max(step - 1, 2));
}
