// Why: the cell under the pointer, or the pinned one, and the terms that decide it.
// @ts-check

import { formatInteger } from "../format.js";
import { tokensOf } from "../matrix/axes.js";
import { firstQuery } from "../state.js";
import { GRID, SHORT } from "./follow.js";
import { make, makeNotice, makeNumberField, showError, withLabel } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").Cell} Cell */
/** @typedef {{text: string, allowed: boolean, reason: string, children: Explanation[]}} Explanation */
/** @typedef {{runs: [number, number][], more: number, count: number}} Row  the keys that a query sees, as runs */

const HINT = "Point at a cell, move with the arrow keys, or write its numbers; a click or Enter pins it.";
const COLLECT = 40; // ms in which moves of the pointer share one question
const REST = 200; // ms on one cell before its column is asked for, which can take a second at great lengths
const MAX_RUNS = 12; // runs of keys that are written
const CLOSE = { zoom: 16, before: 6 }; // pixels per cell, and cells before the one that is shown

/** Create fields for the numbers of a query and a key, which pin their cell. @param {App} app */
function createCellFields(app) {
  const [q, k] = [0, 1].map(() => makeNumberField({ low: 0, high: 0, value: 0, act: go })); // `show` sets the bounds

  function go() {
    const state = app.state.get();
    const cell = { q: Number(q.value), k: Number(k.value) };
    const allShown = !state.view && Math.max(state.qLen ?? 0, state.length) <= SHORT; // its cells can be told apart
    const zoom = Math.max(CLOSE.zoom, state.view?.zoom ?? 0);
    const view = { q: cell.q - firstQuery(state) - CLOSE.before, k: cell.k - CLOSE.before, zoom };
    app.state.set({ cell, view: allShown ? null : view });
  }

  /** Show the bounds of the grid, and the numbers of the pinned cell. */
  function show() {
    const state = app.state.get();
    const first = firstQuery(state);
    [q.min, q.max] = [String(first), String(first + (state.qLen ?? state.length) - 1)];
    k.max = String(state.length - 1);
    const { cell } = state;
    if (cell) [q.value, k.value] = [String(cell.q), String(cell.k)];
    else if (Number(q.value) < first || Number(q.value) > Number(q.max)) q.value = q.min;
    if (Number(k.value) > Number(k.max)) k.value = k.max;
  }
  app.state.on(["cell", "length", "qLen", "qStart"], show);
  show();
  return make("div", "fields", withLabel("query", q), withLabel("key", k));
}

/** @param {Explanation} explanation @returns {HTMLElement} */
function makeTree({ text, allowed, reason, children }) {
  const line = make("div", allowed ? "yes" : "no", make("b", "", allowed ? "✓" : "✗"), " ");
  line.append(make("code", "", text), make("span", "", reason));
  const item = make("li", "", line);
  if (children.length) item.append(make("ul", "", ...children.map(makeTree)));
  return item;
}

/** @param {Row} row */
function runsText({ runs, more }) {
  const parts = runs.slice(0, MAX_RUNS).map(([start, end]) => {
    const first = formatInteger(start);
    return end - start === 1 ? first : `${first} to ${formatInteger(end - 1)}`;
  });
  const left = more + Math.max(0, runs.length - MAX_RUNS);
  return parts.join(", ") + (left ? `, and ${formatInteger(left)} more runs` : "");
}

/** @param {Row} row */
function keysText(row) {
  if (!row.count) return "no key: its output is 0";
  return `${formatInteger(row.count)} ${row.count === 1 ? "key" : "keys"}: ${runsText(row)}`;
}

/** Create the heading, the tree of terms and the facts of a cell. */
function makeElements() {
  const [heading, tree] = [make("h2"), make("ul", "tree")];
  const [seesName, sees, seenName, seen] = [make("dt"), make("dd"), make("dt"), make("dd")];
  const facts = make("dl", "", seesName, sees, seenName, seen);
  return {
    heading, tree, seesName, sees, seenName, seen, facts,
    /** @param {boolean} hidden */
    hide(hidden) {
      heading.hidden = facts.hidden = tree.hidden = hidden;
    },
  };
}

/**
 * Show the answers about a cell.
 * @param {ReturnType<typeof makeElements>} elements
 * @param {Cell} cell
 * @param {{answer: {allowed: boolean, why: Explanation}, row: Row, words: string[]}} answers
 */
function showCell({ heading, tree, seesName, sees, seenName }, { q, k }, { answer, row, words }) {
  /** @param {number} position */
  const word = (position) => (words[position] ? ` “${words[position]}”` : "");
  const verdict = answer.allowed ? "allowed" : "blocked";
  heading.textContent = `query ${formatInteger(q)}${word(q)}, key ${formatInteger(k)}${word(k)}: ${verdict}`;
  tree.replaceChildren(makeTree(answer.why));
  seesName.textContent = `query ${formatInteger(q)} sees`;
  sees.textContent = keysText(row);
  seenName.textContent = `key ${formatInteger(k)} is last seen by`;
}

/**
 * Create the two questions about a cell: the cell with its row, and the column, which takes longer.
 * @param {App} app
 * @param {ReturnType<typeof makeElements>} elements
 * @param {HTMLElement} notice
 */
function createQuestions(app, elements, notice) {
  const { seen } = elements;
  let shownColumn = ""; // grid and key of the last fact
  /** @param {Record<string, string>} grid @param {Cell} cell */
  const columnOf = (grid, cell) => JSON.stringify([grid, cell.k]);
  return {
    /** @param {Cell} cell */
    async askCell(cell) {
      const grid = app.grid();
      const [answer, row] = await Promise.all([
        app.ask("why", { ...grid, ...cell }),
        app.ask("row", { ...grid, q: cell.q }),
      ]);
      showError(app, notice, null);
      showCell(elements, cell, { answer, row, words: tokensOf(app.state.get().text) });
      const column = columnOf(grid, cell);
      if (column !== shownColumn) seen.textContent = "…";
      shownColumn = column;
    },
    /** @param {Cell} cell */
    async askColumn(cell) {
      const grid = app.grid();
      try {
        const last = (await app.ask("column", { ...grid, k: cell.k })).last_seen;
        if (columnOf(grid, cell) !== shownColumn) return; // of another mask, or another key
        seen.textContent = last < 0 ? "no query" : `query ${formatInteger(last)}; after it a KV cache may drop the key`;
      } catch (error) {
        seen.textContent = /** @type {Error} */ (error).message;
      }
    },
  };
}

export const panel = {
  id: "why",
  title: "Why",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const hint = make("p", "hint", HINT);
    const elements = makeElements();
    root.append(elements.heading, createCellFields(app), hint, notice, elements.tree, elements.facts);
    const { askCell, askColumn } = createQuestions(app, elements, notice);
    let busy = false;
    let changed = false; // while busy
    let timer = 0;
    let columnTimer = 0;

    /** Ask one question at a time: a pointer that moves on leaves no queue of them. */
    async function show() {
      if (!root.isConnected) return;
      if (busy) {
        changed = true;
        return;
      }
      const cell = app.hover.get() ?? app.state.get().cell;
      hint.hidden = Boolean(cell);
      elements.hide(!cell);
      if (!cell) {
        showError(app, notice, null);
        return;
      }
      busy = true;
      try {
        await askCell(cell);
      } catch (error) {
        elements.hide(true);
        showError(app, notice, error);
      }
      busy = false;
      clearTimeout(columnTimer);
      columnTimer = window.setTimeout(() => askColumn(cell), REST);
      if (changed) {
        changed = false;
        void show();
      }
    }

    function showSoon() {
      clearTimeout(timer);
      timer = window.setTimeout(show, COLLECT);
    }
    app.hover.on(showSoon);
    app.state.on(["cell", "panel", ...GRID], showSoon);
    showSoon();
  },
};
