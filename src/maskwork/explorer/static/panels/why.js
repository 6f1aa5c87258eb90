// Why: the cell under the pointer, or the pinned one, and the terms that decide it.
// @ts-check

import { tokens } from "../matrix/axes.js";
import { GRID, labelled, made, noticePlace, numberField, refuse, SHORT, whole } from "./parts.js";
import { firstQuery } from "../state.js";

/** @typedef {{text: string, allowed: boolean, reason: string, children: Why[]}} Why */

const REST = 200; // ms on one cell before its column is asked for, which can take a second at great lengths

const CLOSE = { zoom: 16, before: 6 }; // of a cell that was gone to, where cells are small: pixels, and cells before it

/** Numbers of a query and a key, to go to their cell. @param {import("../main.js").App} app */
function cellFields(app) {
  const [q, k] = [0, 1].map(() => numberField({ low: 0, high: 0, value: 0, act: go })); // `show` says the bounds

  function go() {
    const state = app.state.get();
    const cell = { q: Number(q.value), k: Number(k.value) };
    const allShown = !state.view && Math.max(state.qLen ?? 0, state.length) <= SHORT; // its cells can be told apart
    const zoom = Math.max(CLOSE.zoom, state.view?.zoom ?? 0);
    const at = { q: cell.q - firstQuery(state) - CLOSE.before, k: cell.k - CLOSE.before, zoom };
    app.state.set({ cell, view: allShown ? null : at });
  }

  /** Bounds of the grid, and the numbers of the cell that is kept. */
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
  return made("div", "fields", labelled("query", q), labelled("key", k));
}

/** @param {Why} why @returns {HTMLElement} */
function tree(why) {
  const line = made("div", why.allowed ? "yes" : "no", made("b", "", why.allowed ? "✓" : "✗"), " ");
  line.append(made("code", "", why.text), made("span", "", why.reason));
  const item = made("li", "", line);
  if (why.children.length) item.append(made("ul", "", ...why.children.map(tree)));
  return item;
}

/** @param {[number, number][]} runs @param {number} more */
function said(runs, more) {
  const parts = runs
    .slice(0, 12)
    .map(([start, end]) => (end - start === 1 ? whole(start) : `${whole(start)} to ${whole(end - 1)}`));
  const left = more + Math.max(0, runs.length - 12);
  return parts.join(", ") + (left ? `, and ${whole(left)} more runs` : "");
}

export const panel = {
  id: "why",
  title: "Why",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const heading = made("h2");
    const hint = made("p", "hint", "Point at a cell, move with the arrow keys, or write its numbers; a click or Enter keeps it.");
    const notice = noticePlace();
    const why = made("ul", "tree");
    const sees = made("dd");
    const seen = made("dd");
    const [seesName, seenName] = [made("dt"), made("dt")];
    const facts = made("dl", "", seesName, sees, seenName, seen);
    root.append(heading, cellFields(app), hint, notice, why, facts);

    const wanted = () => app.hover.get() ?? app.state.get().cell;
    let busy = false;
    let again = false;
    let timer = 0;
    let rest = 0;
    let asked = ""; // the grid and key that the last line speaks of

    /** @param {import("../state.js").Cell} cell */
    async function cellAndRow(cell) {
      const grid = app.grid();
      const [because, row] = await Promise.all([
        app.ask("why", { ...grid, ...cell }),
        app.ask("row", { ...grid, q: cell.q }),
      ]);
      refuse(app, notice, null);
      const words = tokens(app.state.get().text);
      /** @param {number} at */
      const word = (at) => (words[at] ? ` “${words[at]}”` : "");
      const verdict = because.allowed ? "allowed" : "blocked";
      heading.textContent = `query ${whole(cell.q)}${word(cell.q)}, key ${whole(cell.k)}${word(cell.k)}: ${verdict}`;
      why.replaceChildren(tree(because.why));
      seesName.textContent = `query ${whole(cell.q)} sees`;
      const keys = `${whole(row.count)} ${row.count === 1 ? "key" : "keys"}`;
      sees.textContent = row.count ? `${keys}: ${said(row.runs, row.more)}` : "no key: its output is 0";
      const column = JSON.stringify([grid, cell.k]);
      if (column !== asked) seen.textContent = "…";
      asked = column;
      seenName.textContent = `key ${whole(cell.k)} is last seen by`;
    }

    /** @param {import("../state.js").Cell} cell */
    async function column(cell) {
      const grid = app.grid();
      const last = (await app.ask("column", { ...grid, k: cell.k })).last_seen;
      if (JSON.stringify([grid, cell.k]) !== asked) return; // of another mask, or another key
      seen.textContent = last < 0 ? "no query" : `query ${whole(last)}; after it a KV cache may drop the key`;
    }

    /** One question at a time: a pointer that moves on does not leave a queue behind it. */
    async function show() {
      if (!root.isConnected) return;
      if (busy) {
        again = true;
        return;
      }
      const cell = wanted();
      hint.hidden = Boolean(cell);
      heading.hidden = facts.hidden = why.hidden = !cell;
      if (!cell) {
        refuse(app, notice, null);
        return;
      }
      busy = true;
      try {
        await cellAndRow(cell);
      } catch (error) {
        heading.hidden = facts.hidden = why.hidden = true;
        refuse(app, notice, error);
      }
      busy = false;
      clearTimeout(rest);
      rest = window.setTimeout(() => column(cell).catch((error) => (seen.textContent = error.message)), REST);
      if (again) {
        again = false;
        void show();
      }
    }

    const soon = () => {
      clearTimeout(timer);
      timer = window.setTimeout(show, 40);
    };
    app.hover.on(soon);
    app.state.on(["cell", "panel", ...GRID], soon);
    soon();
  },
};
