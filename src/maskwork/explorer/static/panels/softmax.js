// Softmax, step by step: from scores to weights on one row, with numbers, and what each way of masking lets through.
// @ts-check

import { attend, exact, FILLS, shown, vector } from "./numbers.js";
import {
  bar,
  cellsOf,
  choice,
  follow,
  GRID,
  labelled,
  made,
  noticePlace,
  numberField,
  percent,
  SHORT,
  table,
  whole,
} from "./parts.js";

/** @typedef {import("./parts.js").Cells} Cells */

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
  min: "The smallest float32. It swallows the score it is added to: as good as −∞, until a whole row is masked.",
  "-1e9": "A large number, as in much older code: its exp is 0 beside any real score. Not so where all are masked.",
  "-1": "Too small a number: masked keys keep e⁻¹ of their weight.",
  none: "Nothing is masked: every key takes its share, and what the mask forbids is in the output.",
};

/** @param {number[]} values */
const vectorText = (values) => `[${values.map((value) => shown(value)).join(" ")}]`;

export const panel = {
  id: "softmax",
  title: "Softmax",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const notice = noticePlace();
    const fills = choice("What is added to masked scores", CHOICES, (fill) => app.state.remember("softmax", { fill }));
    const row = numberField({
      low: 0,
      high: SHORT - 1,
      value: 0,
      act: (q) => app.state.remember("softmax", { row: String(q) }),
    });
    const seed = numberField({
      low: 0,
      high: 9999,
      value: 1,
      act: (n) => app.state.remember("softmax", { seed: String(n) }),
    });
    const note = made("p", "hint");
    const verdict = made("div", "verdict");
    verdict.setAttribute("role", "status");
    const steps = made("div", "scroll");
    const out = made("div");
    const vectors = made("div", "scroll");
    const details = made("details", "", made("summary", "", "The vectors q, k and v"), vectors);
    const body = made("div", "", note, verdict, out, steps, details);
    root.append(
      made("h2", "", "From scores to weights"),
      made("div", "fields", labelled("query", row), labelled("seed", seed)),
      made("div", "fields", made("span", "field-name", "added to masked scores"), fills.root),
      notice,
      body,
    );
    /** @type {Cells|null} */
    let cells = null;

    const kept = () => app.state.get().p.softmax ?? {};

    /** The query shown: the one pointed at, the one asked for, the pinned one, or one in the middle. */
    function query() {
      const { rows, q_start: first } = /** @type {Cells} */ (cells);
      const asked = /^\d+$/.test(kept().row) ? Number(kept().row) : undefined;
      const q = app.hover.get()?.q ?? asked ?? app.state.get().cell?.q ?? first + Math.floor(rows.length / 2);
      return Math.min(Math.max(q, first), first + rows.length - 1);
    }

    function draw() {
      const name = Object.hasOwn(FILLS, kept().fill) ? kept().fill : "-inf";
      fills.show(name);
      if (!cells || !root.isConnected) return;
      const q = query();
      const number = Number(kept().seed ?? 1) || 0;
      /** @param {number} at */
      const allowedAt = (at) => [.../** @type {Cells} */ (cells).rows[at]].map((cell) => cell === "1");
      const allowed = allowedAt(q - cells.q_start);
      const found = attend(number, q, allowed, FILLS[name]);
      row.min = String(cells.q_start);
      row.max = String(cells.q_start + cells.rows.length - 1);
      if (document.activeElement !== row) row.value = String(q);
      if (document.activeElement !== seed) seed.value = String(number);
      note.textContent = NOTES[name];
      showVerdict(
        found,
        allowed,
        cells.rows.map((_, at) => {
          const line = allowedAt(at);
          return attend(number, /** @type {Cells} */ (cells).q_start + at, line, FILLS[name]).leak;
        }),
      );
      showSteps(found, allowed);
      showOutput(found, exact(number, q, allowed));
      if (details.open) showVectors(number, q, allowed);
    }

    /** @param {import("./numbers.js").Steps} found @param {boolean[]} allowed @param {number[]} leaks of all rows */
    function showVerdict(found, allowed, leaks) {
      const broken = Number.isNaN(found.leak);
      const bad = broken || found.leak > 0;
      verdict.className = bad ? "verdict no" : "verdict yes";
      const forbidden = allowed.filter((yes) => !yes).length;
      const empty = forbidden === allowed.length ? "This row may see no key. " : "";
      const what = broken
        ? "0 / 0: the output is NaN, and the loss with it"
        : bad
          ? `${percent(found.leak)} of the weight is on forbidden keys`
          : forbidden
            ? "no weight is on forbidden keys"
            : "this row has no forbidden key";
      const others = leaks.filter((leak) => leak > 0 || Number.isNaN(leak)).length;
      verdict.replaceChildren(
        made("b", "", `${bad ? "⚠" : "✓"} ${empty}${what}.`),
        made(
          "span",
          "",
          ` Rows that go wrong: ${whole(others)} of ${whole(leaks.length)}.`,
        ),
      );
    }

    /** @param {import("./numbers.js").Steps} found @param {boolean[]} allowed */
    function showSteps({ scores, masked, max, shifted, exps, sum, weights }, allowed) {
      const rows = scores.map((score, key) => {
        const weight = made(
          "span",
          "weight",
          bar(weights[key] || 0, allowed[key] ? "" : "leak"),
          shown(weights[key]),
        );
        return [String(key), shown(score), shown(masked[key]), shown(shifted[key]), shown(exps[key]), weight];
      });
      const out = table(["key", "q·k/√d", "masked", "− max", "exp", "weight"], rows, "steps");
      out.querySelectorAll("tbody tr").forEach((line, key) => {
        if (allowed[key]) return;
        line.className = weights[key] > 0 ? "masked leaking" : "masked";
        line.querySelector("th")?.append(made("span", "visually-hidden", " masked"));
      });
      const foot = made("tr");
      for (const text of [
        "",
        "",
        `max ${shown(max)}`,
        "",
        `Σ ${shown(sum)}`,
        shown(weights.reduce((a, b) => a + b, 0)),
      ]) {
        foot.append(made("td", "", text));
      }
      out.append(made("tfoot", "", foot));
      steps.replaceChildren(out);
    }

    /** @param {import("./numbers.js").Steps} found @param {number[]} right */
    function showOutput({ output }, right) {
      const off = Math.max(...output.map((value, i) => Math.abs(value - right[i])));
      out.replaceChildren(
        table(
          [],
          [
            ["output, weights × V", made("code", "", vectorText(output))],
            ["of mw.attention", made("code", "", vectorText(right))],
            ["largest difference", made("code", "", shown(off))],
          ],
          "plain",
        ),
      );
    }

    /** @param {number} number @param {number} q @param {boolean[]} allowed */
    function showVectors(number, q, allowed) {
      const rows = allowed.map((_, key) => [
        String(key),
        vectorText(vector(number, "k", key)),
        vectorText(vector(number, "v", key)),
      ]);
      vectors.replaceChildren(
        made("p", "", `q of query ${q}: `, made("code", "", vectorText(vector(number, "q", q)))),
        table(["key", "k", "v"], rows, "steps"),
      );
    }

    details.addEventListener("toggle", draw);
    app.hover.on((cell) => cell && draw());
    app.state.on(["p", "panel"], draw);
    app.state.on(["cell"], ({ cell }) => {
      if (cell && app.state.get().panel === "softmax") app.state.remember("softmax", { row: String(cell.q) });
    });
    draw();
    follow(app, "softmax", GRID, {
      notice,
      body,
      ask: (signal) => cellsOf(app, signal, "Numbers are shown"),
      show(found) {
        cells = found;
        draw();
      },
    });
  },
};
