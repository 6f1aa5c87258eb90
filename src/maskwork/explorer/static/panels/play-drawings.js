// Drawings of training, of decoding and of its cache, and the table of what they cost.
// @ts-check

import { formatInteger, formatPercent } from "../format.js";
import { css, palette } from "../matrix/paint.js";
import { drawHatching, sizeCanvas } from "./canvas.js";
import { keysSeen, labelsOf, stepsOf } from "./decoding.js";
import { make, makeTable } from "./parts.js";

/** @typedef {import("./follow.js").Cells} Cells */
/** @typedef {{all: string, none: string, line: string, muted: string, mark: string}} Inks */

const SIDE = 200; // CSS pixels of a drawing
const LABELS = 18; // CSS pixels for the labels beside the rows
const CACHE = { width: 480, entry: 13, min: 5, max: 20, gap: 3 }; // CSS pixels
const PAST_ALPHA = 0.35; // of rows that decoding has computed before

/**
 * Return the colours of the drawings.
 * @param {HTMLElement} root
 * @returns {Inks}
 */
export function inksOf(root) {
  const style = getComputedStyle(root);
  const [line, muted, mark] = ["--line", "--muted", "--mark"].map((name) => style.getPropertyValue(name).trim());
  return { all: css(palette().all), none: css(palette().none), line, muted, mark };
}

/** CSS pixels of a cell. @param {string[]} rows */
const cellSize = (rows) => Math.max(2, Math.floor(SIDE / Math.max(rows.length, rows[0].length)));

/** @param {CanvasRenderingContext2D} context @param {string[]} rows @param {Inks} inks
 * @param {(row: number, key: number) => number} alpha of a cell */
function drawCells(context, rows, { all, none, line }, alpha) {
  const size = cellSize(rows);
  const inner = size - (size > 4 ? 1 : 0);
  const [wide, high] = [rows[0].length * size, rows.length * size];
  context.fillStyle = none;
  context.fillRect(0, 0, wide, high);
  context.fillStyle = all;
  rows.forEach((row, index) =>
    [...row].forEach((cell, key) => {
      if (cell === "0") return;
      context.globalAlpha = alpha(index, key);
      context.fillRect(key * size, index * size, inner, inner);
    }),
  );
  context.globalAlpha = 1;
  context.strokeStyle = line;
  context.strokeRect(0.5, 0.5, wide - 1, high - 1);
}

/**
 * Draw a disc for a scored label, a ring for none, a square for a leak.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./decoding.js").Label} label
 * @param {{x: number, y: number, radius: number}} place
 * @param {Inks} inks
 */
function drawLabel(context, label, { x, y, radius }, { mark, muted, all }) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = label === "leak" ? mark : all;
  context.strokeStyle = muted;
  context.lineWidth = 1;
  if (label === "none") context.stroke();
  else if (label === "leak") context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  else context.fill();
}

/**
 * Draw all rows with their labels, and return what they are in words: the text, and a warning where rows leak.
 * @param {HTMLCanvasElement} canvas
 * @param {Cells} cells
 * @param {Inks} inks
 */
export function drawTraining(canvas, cells, inks) {
  const { rows } = cells;
  const size = cellSize(rows);
  const wide = rows[0].length * size;
  const context = sizeCanvas(canvas, wide + LABELS, rows.length * size);
  drawCells(context, rows, inks, () => 1);
  const labels = labelsOf(cells);
  const radius = Math.max(1, Math.min(4, size / 2 - 0.5));
  labels.forEach((label, row) => drawLabel(context, label, { x: wide + 10, y: (row + 0.5) * size, radius }, inks));
  const leaks = labels.filter((label) => label === "leak").length;
  const scored = labels.filter((label) => label !== "none").length;
  const pairs = rows.reduce((sum, row) => sum + row.replaceAll("0", "").length, 0);
  const text =
    `${formatInteger(pairs)} pairs in one pass. ● ${scored} of ${labels.length} labels are scored; ` +
    `○ the last of ${cells.documents ? "a document" : "the row"} has no next token.`;
  const warning = leaks
    ? ` ■ ${leaks} ${leaks === 1 ? "row sees its" : "rows see their"} own label: the model learns to copy the label.`
    : "";
  return { text, warning };
}

/**
 * Draw the rows up to a step of decoding, and return what the step reads in words.
 * @param {HTMLCanvasElement} canvas
 * @param {Cells} cells
 * @param {number} step
 * @param {Inks} inks
 */
export function drawDecoding(canvas, { rows, q_start: first }, step, inks) {
  const size = cellSize(rows);
  const context = sizeCanvas(canvas, rows[0].length * size, rows.length * size);
  drawCells(context, rows, inks, (row, key) => (row > step || key > first + row ? 0 : row === step ? 1 : PAST_ALPHA));
  context.strokeStyle = inks.mark;
  context.lineWidth = 2;
  context.strokeRect(1, step * size, rows[0].length * size - 2, size);
  return `Query ${first + step} reads ${keysSeen(rows[step], first + step)} of ${first + step + 1} keys.`;
}

/**
 * Draw the entries of the cache at a step of decoding, and return what they are in words.
 * @param {HTMLCanvasElement} canvas
 * @param {Cells} cells
 * @param {number} step
 * @param {{inks: Inks, room: number}} options room: CSS pixels
 */
export function drawCache(canvas, { rows, q_start: first, last_seen: ends }, step, { inks, room }) {
  const time = first + step;
  const wide = Math.min(room, CACHE.width);
  const lines = Math.ceil((ends.length * CACHE.entry) / wide);
  const across = Math.ceil(ends.length / lines);
  const size = Math.max(CACHE.min, Math.min(CACHE.max, Math.floor(wide / across)));
  const context = sizeCanvas(canvas, across * size + 1, lines * (size + CACHE.gap) + 1);
  ends.forEach((end, key) => {
    const [x, y] = [(key % across) * size + 1, Math.floor(key / across) * (size + CACHE.gap) + 1];
    const square = { x, y, size: size - 2 };
    context.strokeStyle = inks.line;
    context.lineWidth = 1;
    if (key <= time && end >= time) {
      context.fillStyle = inks.all;
      context.fillRect(x, y, square.size, square.size);
    } else {
      if (key <= time) drawHatching(context, square, inks.muted);
      context.strokeRect(x + 0.5, y + 0.5, square.size - 1, square.size - 1);
    }
    if (key <= time && rows[step][key] === "1") {
      context.strokeStyle = inks.mark;
      context.lineWidth = 2;
      context.strokeRect(x, y, square.size, square.size);
    }
  });
  const held = ends.filter((end, key) => key <= time && end >= time).length;
  const evicted = Math.min(time + 1, ends.length) - held;
  return `${held} held, ${evicted} evicted (hatched: no later query sees them), outlined: read in this step.`;
}

/**
 * Create the table of pairs and cache entries at a step of decoding, up to the step, and up to the end.
 * @param {Cells} cells
 * @param {number} step
 */
export function makeCounters(cells, step) {
  const steps = stepsOf(cells);
  const [now, end] = [steps[step], steps[steps.length - 1]];
  /** @param {number} part @param {number} total */
  const share = (part, total) => (total ? formatPercent(part / total) : "–");
  /** @param {typeof steps} some */
  const mostStored = (some) => formatInteger(Math.max(...some.map(({ storedEvicting }) => storedEvicting)));
  return makeTable(
    ["", "this step", "so far", "to the end"],
    [
      ["pairs without a cache", ...[now.fresh, now.freshSum, end.freshSum].map(formatInteger)],
      ["pairs with a cache", ...[now.cached, now.cachedSum, end.cachedSum].map(formatInteger)],
      [
        "share with the cache",
        share(now.cached, now.fresh),
        share(now.cachedSum, now.freshSum),
        share(end.cachedSum, end.freshSum),
      ],
      ["cache entries, all kept", ...[now.storedAll, now.storedAll, end.storedAll].map(formatInteger)],
      ["cache entries, evicting", ...[[now], steps.slice(0, step + 1), steps].map(mostStored)],
    ],
    "numbers",
  );
}

/** Explain the table's last two columns. */
export const makeCountersHint = () =>
  make("p", "hint", "Cache entries, so far and to the end: the most that are held at once.");
