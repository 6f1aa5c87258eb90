// Compare: a second mask beside the first, exact counts of where they differ, and the first cells that do.
// @ts-check

import { firstQuery } from "../state.js";
import { button, follow, GRID, made, noticePlace, percent, swatch, table, whole } from "./parts.js";

const PAUSE = 250; // ms without a key before the second mask is read
const NEAR = 256; // a longer matrix is zoomed to the cell
const CELL = 16; // pixels of a cell that is gone to

/** @typedef {[number, number, number, number]} Place  batch row, head, query, key */
/** @typedef {{both: number, only_left: number, only_right: number, neither: number,
 *   first_left: Place[], first_right: Place[]}} Diff */

export const panel = {
  id: "compare",
  title: "Compare",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const notice = noticePlace();
    const body = made("div");
    const box = made("textarea", "expression");
    Object.assign(box, { rows: 2, spellcheck: false, id: "other" });
    box.setAttribute("autocapitalize", "off");
    const label = made("label", "", "The other mask");
    label.htmlFor = "other";
    const problem = made("pre", "problem");
    problem.id = "other-problem";
    problem.setAttribute("role", "alert");
    box.setAttribute("aria-describedby", problem.id);
    const swap = button("Swap the two", () => {
      const { mask, other } = app.state.get();
      app.state.set({ mask: other, other: mask });
    });
    root.append(made("h2", "", "Two masks"), label, box, problem, made("div", "fields", swap), notice, body);

    /** @param {string} text */
    function complain(text) {
      problem.textContent = text;
      problem.hidden = !text;
      box.setAttribute("aria-invalid", String(Boolean(text)));
    }
    complain("");

    let timer = 0;
    let turn = 0;
    /** The picture keeps the last good mask until the server has read the new one. */
    async function read() {
      const other = box.value.trim();
      const mine = ++turn;
      if (!other || other === app.state.get().other) return complain("");
      try {
        await app.ask("describe", { ...app.grid(), mask: other });
        if (mine !== turn) return;
        complain("");
        app.state.set({ other });
      } catch (error) {
        if (mine === turn) complain(error instanceof Error ? error.message : String(error));
      }
    }
    box.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(read, PAUSE);
    });
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      void read();
    });

    /** @param {Place} place */
    function goTo([b, h, q, k]) {
      const { length, qLen } = app.state.get();
      const first = firstQuery(app.state.get());
      const near = Math.max(length, qLen ?? 0) <= NEAR;
      const view = near ? null : { q: Math.max(0, q - first - 8), k: Math.max(0, k - 8), zoom: CELL };
      app.state.set({ b, h, cell: { q, k }, view });
      app.announce(`query ${q}, key ${k} pinned`);
    }

    /** @param {string} text @param {Place[]} places */
    function firsts(text, places) {
      if (!places.length) return [];
      /** @param {Place} place */
      const name = ([b, h, q, k]) => `${b || h ? `row ${b}, head ${h}, ` : ""}query ${whole(q)}, key ${whole(k)}`;
      return [
        made("h3", "", text),
        made("div", "places", ...places.map((place) => button(name(place), () => goTo(place)))),
      ];
    }

    /** @param {Diff} diff */
    function show(diff) {
      const cells = diff.both + diff.only_left + diff.only_right + diff.neither;
      /** @param {"all"|"left"|"right"|"none"} kind @param {string} text @param {number} count
       * @returns {(Node|string)[]} */
      const line = (kind, text, count) => [
        made("span", "", swatch(kind), text),
        whole(count),
        percent(cells ? count / cells : 0),
      ];
      const same = diff.only_left + diff.only_right === 0;
      body.replaceChildren(
        made(
          "p",
          same ? "verdict yes" : "verdict",
          same
            ? "✓ The two masks are equal, cell for cell."
            : `The two masks differ in ${whole(diff.only_left + diff.only_right)} cells.`,
        ),
        table(
          ["", "cells", ""],
          [
            line("all", "both allow", diff.both),
            line("left", "only this one", diff.only_left),
            line("right", "only the other", diff.only_right),
            line("none", "neither", diff.neither),
          ],
          "numbers",
        ),
        ...firsts("First cells that only this one allows", diff.first_left),
        ...firsts("First cells that only the other allows", diff.first_right),
      );
    }

    const again = follow(app, "compare", [...GRID, "other"], {
      notice,
      body,
      ask: (signal) => app.ask("compare", { ...app.grid(), other: app.state.get().other }, signal),
      show,
    });
    /** Also over what is being written: it is the state that has changed. */
    function fill() {
      const { other } = app.state.get();
      if (box.value.trim() === other) return;
      turn += 1;
      box.value = other;
      complain("");
    }
    app.state.on(["other"], fill);
    fill();
    app.onTheme(again);
  },
};
