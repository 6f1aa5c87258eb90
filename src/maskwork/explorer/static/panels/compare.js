// Compare: a second mask beside the first, exact counts of where they differ, and the first cells that do.
// @ts-check

import { formatInteger, formatPercent } from "../format.js";
import { firstQuery } from "../state.js";
import { follow, GRID } from "./follow.js";
import { make, makeButton, makeNotice, makeSwatch, makeTable } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {[number, number, number, number]} Place  batch row, head, query, key */
/** @typedef {{both: number, only_left: number, only_right: number, neither: number,
 *   first_left: Place[], first_right: Place[]}} Diff */

const READ_AFTER = 250; // ms without a key before the second mask is sent to the server
const SHORT = 256; // a longer matrix is zoomed to the cell
const CLOSE = { zoom: 16, before: 8 }; // pixels per cell, and cells before the one that is shown

/**
 * Pin a cell of a plane, and zoom to it where the matrix is long.
 * @param {App} app
 * @param {Place} place
 */
function goTo(app, [b, h, q, k]) {
  const { length, qLen } = app.state.get();
  const first = firstQuery(app.state.get());
  const { zoom, before } = CLOSE;
  const view = { q: Math.max(0, q - first - before), k: Math.max(0, k - before), zoom };
  app.state.set({ b, h, cell: { q, k }, view: Math.max(length, qLen ?? 0) <= SHORT ? null : view });
  app.announce(`query ${q}, key ${k} pinned`);
}

/** @param {App} app @param {string} title @param {Place[]} places */
function makePlaces(app, title, places) {
  if (!places.length) return [];
  const buttons = places.map((place) => {
    const [b, h, q, k] = place;
    const plane = b || h ? `row ${b}, head ${h}, ` : "";
    return makeButton(`${plane}query ${formatInteger(q)}, key ${formatInteger(k)}`, () => goTo(app, place));
  });
  return [make("h3", "", title), make("div", "places", ...buttons)];
}

/** @param {App} app @param {Diff} diff */
function makeDiff(app, diff) {
  const different = diff.only_left + diff.only_right;
  const cells = diff.both + different + diff.neither;
  /** @param {"all"|"left"|"right"|"none"} kind @param {string} text @param {number} count
   * @returns {(Node|string)[]} */
  const line = (kind, text, count) => [
    make("span", "", makeSwatch(kind), text),
    formatInteger(count),
    formatPercent(cells ? count / cells : 0),
  ];
  const verdict = different
    ? make("p", "verdict", `The two masks differ in ${formatInteger(different)} cells.`)
    : make("p", "verdict yes", "✓ The two masks are equal, cell for cell.");
  const counts = [
    line("all", "both allow", diff.both),
    line("left", "only this one", diff.only_left),
    line("right", "only the other", diff.only_right),
    line("none", "neither", diff.neither),
  ];
  return [
    verdict,
    makeTable(["", "cells", ""], counts, "numbers"),
    ...makePlaces(app, "First cells that only this one allows", diff.first_left),
    ...makePlaces(app, "First cells that only the other allows", diff.first_right),
  ];
}

/**
 * Create the box of the second mask. Its text becomes the state's once the server has accepted it; until then the
 * picture shows the last accepted mask.
 * @param {App} app
 */
function createMaskBox(app) {
  const box = make("textarea", "expression");
  Object.assign(box, { rows: 2, spellcheck: false, id: "other" });
  box.setAttribute("autocapitalize", "off");
  const label = make("label", "", "The other mask");
  label.htmlFor = box.id;
  const problem = make("pre", "problem");
  problem.id = "other-problem";
  problem.setAttribute("role", "alert");
  box.setAttribute("aria-describedby", problem.id);
  let timer = 0;
  let latest = 0;

  /** @param {string} text */
  function showProblem(text) {
    problem.textContent = text;
    problem.hidden = !text;
    box.setAttribute("aria-invalid", String(Boolean(text)));
  }

  async function read() {
    const other = box.value.trim();
    const turn = ++latest;
    if (!other || other === app.state.get().other) return showProblem("");
    try {
      await app.ask("describe", { ...app.grid(), mask: other });
      if (turn !== latest) return;
      showProblem("");
      app.state.set({ other });
    } catch (error) {
      if (turn === latest) showProblem(error instanceof Error ? error.message : String(error));
    }
  }

  /** Show the state's mask, also over what is being written: the state has changed. */
  function show() {
    const { other } = app.state.get();
    if (box.value.trim() === other) return;
    latest += 1;
    box.value = other;
    showProblem("");
  }
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(read, READ_AFTER);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    void read();
  });
  showProblem("");
  return { elements: [label, box, problem], show };
}

export const panel = {
  id: "compare",
  title: "Compare",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const body = make("div");
    const box = createMaskBox(app);
    const swap = makeButton("Swap the two", () => {
      const { mask, other } = app.state.get();
      app.state.set({ mask: other, other: mask });
    });
    root.append(make("h2", "", "Two masks"), ...box.elements, make("div", "fields", swap), notice, body);

    const askAgain = follow(app, "compare", [...GRID, "other"], {
      notice,
      body,
      ask: (signal) => app.ask("compare", { ...app.grid(), other: app.state.get().other }, signal),
      show: (/** @type {Diff} */ diff) => body.replaceChildren(...makeDiff(app, diff)),
    });
    app.state.on(["other"], box.show);
    box.show();
    app.onTheme(askAgain);
  },
};
