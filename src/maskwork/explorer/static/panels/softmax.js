// Softmax, step by step: from scores to weights on one row, with numbers, and what each way of masking lets through.
// @ts-check

import { formatInteger, formatPercent } from "../format.js";
import { firstQuery } from "../state.js";
import { fetchCells, follow, GRID } from "./follow.js";
import { attend, exactOutput, FILLS, formatNumber, formatVector, vector } from "./numbers.js";
import { make, makeBar, makeChoice, makeNotice, makeNumberField, makeTable, withLabel } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("./follow.js").Cells} Cells */
/** @typedef {import("./numbers.js").Steps} Steps */

const MAX_SEED = 9999;

/** @type {[string, string][]} */
const CHOICES = [
  ["-inf", "−∞"],
  ["min", "finfo.min"],
  ["-1e9", "−1e9"],
  ["-1", "−1"],
  ["none", "no mask"],
];

/** @type {Record<string, string>} */
const NOTES = {
  "-inf": "Added to a score, −∞ leaves exactly 0 of its weight. A row in which every key is masked becomes 0 / 0.",
  min: "The smallest float32. The score is lost in rounding: as good as −∞, unless every key of the row is masked.",
  "-1e9": "A large number, common in older code: its exp is 0 beside a real score, but not where every key is masked.",
  "-1": "The number is too small: masked keys keep e⁻¹ of their weight.",
  none: "Nothing is masked: every key gets its share, and forbidden keys contribute to the output.",
};

/** @param {string} row of cells @returns {boolean[]} */
const allowedIn = (row) => [...row].map((cell) => cell === "1");

/** @param {number} leak */
const isWrong = (leak) => leak > 0 || Number.isNaN(leak);

/**
 * @param {HTMLElement} verdict
 * @param {number} leak of the row
 * @param {boolean[]} allowed
 * @param {number[]} leaks of all rows
 */
function showVerdict(verdict, leak, allowed, leaks) {
  const forbidden = allowed.filter((yes) => !yes).length;
  const empty = forbidden === allowed.length ? "This row may see no key. " : "";
  let text = forbidden ? "no weight is on forbidden keys" : "this row has no forbidden key";
  if (Number.isNaN(leak)) text = "0 / 0: the output is NaN, and the loss with it";
  else if (leak > 0) text = `${formatPercent(leak)} of the weight is on forbidden keys`;
  const wrong = leaks.filter(isWrong).length;
  verdict.className = isWrong(leak) ? "verdict no" : "verdict yes";
  verdict.replaceChildren(
    make("b", "", `${isWrong(leak) ? "⚠" : "✓"} ${empty}${text}.`),
    make("span", "", ` Rows that go wrong: ${formatInteger(wrong)} of ${formatInteger(leaks.length)}.`),
  );
}

/** @param {Steps} steps @param {boolean[]} allowed */
function makeSteps({ scores, masked, max, shifted, exps, sum, weights }, allowed) {
  const rows = scores.map((score, key) => {
    const bar = makeBar(weights[key] || 0, allowed[key] ? "" : "leak");
    const numbers = [score, masked[key], shifted[key], exps[key]].map(formatNumber);
    return [String(key), ...numbers, make("span", "weight", bar, formatNumber(weights[key]))];
  });
  const out = makeTable(["key", "q·k/√d", "masked", "− max", "exp", "weight"], rows, "steps");
  out.querySelectorAll("tbody tr").forEach((line, key) => {
    if (allowed[key]) return;
    line.className = weights[key] > 0 ? "masked leaking" : "masked";
    line.querySelector("th")?.append(make("span", "visually-hidden", " masked"));
  });
  const total = weights.reduce((a, b) => a + b, 0);
  const foot = ["", "", `max ${formatNumber(max)}`, "", `Σ ${formatNumber(sum)}`, formatNumber(total)];
  out.append(make("tfoot", "", make("tr", "", ...foot.map((text) => make("td", "", text)))));
  return out;
}

/** @param {number[]} output @param {number[]} right */
function makeOutput(output, right) {
  const difference = Math.max(...output.map((value, i) => Math.abs(value - right[i])));
  const rows = [
    ["output, weights × V", make("code", "", formatVector(output))],
    ["of mw.attention", make("code", "", formatVector(right))],
    ["largest difference", make("code", "", formatNumber(difference))],
  ];
  return makeTable([], rows, "plain");
}

/** @param {number} seed @param {number} query @param {number} keys */
function makeVectors(seed, query, keys) {
  const rows = Array.from({ length: keys }, (_, key) => [
    String(key),
    formatVector(vector(seed, "k", key)),
    formatVector(vector(seed, "v", key)),
  ]);
  return [
    make("p", "", `q of query ${query}: `, make("code", "", formatVector(vector(seed, "q", query)))),
    makeTable(["key", "k", "v"], rows, "steps"),
  ];
}

/** Create the fields and the places of the panel. @param {App} app */
function makeElements(app) {
  /** @param {string} key @returns {(value: number|string) => void} */
  const remember = (key) => (value) => app.state.remember("softmax", { [key]: String(value) });
  const fills = makeChoice("What is added to masked scores", CHOICES, remember("fill"));
  const row = makeNumberField({ low: 0, high: 0, value: 0, act: remember("row") }); // `showBounds` sets the bounds
  const seed = makeNumberField({ low: 0, high: MAX_SEED, value: 1, act: remember("seed") });
  const [note, verdict] = [make("p", "hint"), make("div", "verdict")];
  verdict.setAttribute("role", "status");
  const [output, steps, vectors] = [make("div"), make("div", "scroll"), make("div", "scroll")];
  const details = make("details", "", make("summary", "", "The vectors q, k and v"), vectors);
  const body = make("div", "", note, verdict, output, steps, details);
  return { fills, row, seed, note, verdict, output, steps, vectors, details, body };
}

/**
 * Draw attention of one query.
 * @param {ReturnType<typeof makeElements>} elements
 * @param {Cells} cells
 * @param {{query: number, seed: number, fill: string}} chosen
 */
function drawAll(elements, cells, { query, seed, fill }) {
  const { rows, q_start: first } = cells;
  const allowed = allowedIn(rows[query - first]);
  const steps = attend(seed, query, allowed, FILLS[fill]);
  if (document.activeElement !== elements.row) elements.row.value = String(query);
  if (document.activeElement !== elements.seed) elements.seed.value = String(seed);
  elements.note.textContent = NOTES[fill];
  const leaks = rows.map((row, index) => attend(seed, first + index, allowedIn(row), FILLS[fill]).leak);
  showVerdict(elements.verdict, steps.leak, allowed, leaks);
  elements.steps.replaceChildren(makeSteps(steps, allowed));
  elements.output.replaceChildren(makeOutput(steps.output, exactOutput(seed, query, allowed)));
  if (elements.details.open) elements.vectors.replaceChildren(...makeVectors(seed, query, allowed.length));
}

export const panel = {
  id: "softmax",
  title: "Softmax",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const elements = makeElements(app);
    const { fills, row, seed, details, body } = elements;
    root.append(
      make("h2", "", "From scores to weights"),
      make("div", "fields", withLabel("query", row), withLabel("seed", seed)),
      make("div", "fields", make("span", "field-name", "added to masked scores"), fills.root),
      notice,
      body,
    );
    /** @type {Cells|null} */
    let cells = null;
    const written = () => app.state.get().p.softmax ?? {};

    /** The query that is pointed at, written, pinned, or in the middle. @param {Cells} shown */
    function queryOf({ rows, q_start: first }) {
      const number = /^\d+$/.test(written().row) ? Number(written().row) : undefined;
      const q = app.hover.get()?.q ?? number ?? app.state.get().cell?.q ?? first + Math.floor(rows.length / 2);
      return Math.min(Math.max(q, first), first + rows.length - 1);
    }

    function showBounds() {
      const state = app.state.get();
      const first = firstQuery(state);
      [row.min, row.max] = [String(first), String(first + (state.qLen ?? state.length) - 1)];
    }

    function draw() {
      const fill = Object.hasOwn(FILLS, written().fill) ? written().fill : "-inf";
      fills.show(fill);
      if (!cells || !root.isConnected) return;
      drawAll(elements, cells, { query: queryOf(cells), seed: Number(written().seed ?? 1) || 0, fill });
    }

    details.addEventListener("toggle", draw);
    app.hover.on((cell) => cell && draw());
    app.state.on(["p", "panel"], draw);
    app.state.on(["length", "qLen", "qStart"], showBounds);
    app.state.on(["cell"], ({ cell }) => {
      if (cell && app.state.get().panel === "softmax") app.state.remember("softmax", { row: String(cell.q) });
    });
    showBounds();
    draw();
    follow(app, "softmax", GRID, {
      notice,
      body,
      ask: (signal) => fetchCells(app, signal),
      show(answer) {
        cells = answer;
        draw();
      },
    });
  },
};
