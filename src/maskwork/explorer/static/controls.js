// Under the matrix: what it counts, which plane of it is shown, and buttons for those who have no wheel.
// @ts-check

import { palette, ramp } from "./matrix/paint.js";
import { made, swatch } from "./panels/parts.js";
import { MAX_LENGTH } from "./state.js";

const MAX_PLANE = 255; // of batch rows and heads, from 0

/** @param {string} label @param {HTMLElement} input */
function labelled(label, input) {
  const out = document.createElement("label");
  out.append(`${label} `, input);
  return out;
}

/** @param {import("./main.js").App} app @param {HTMLElement} root */
export function createControls(app, root) {
  /** @param {string} label @param {"b"|"h"|"qStart"|"qLen"} key @param {number} low */
  function number(label, key, low) {
    const input = document.createElement("input");
    const high = key === "b" || key === "h" ? MAX_PLANE : MAX_LENGTH;
    Object.assign(input, { type: "number", min: String(low), max: String(high), placeholder: "all" });
    input.addEventListener("change", () => {
      const value = input.value === "" ? null : Math.min(Math.max(low, Math.floor(Number(input.value))), high);
      app.state.set({ [key]: value ?? (key === "b" || key === "h" ? 0 : null), view: null, cell: null });
      show(); // also where the state was that already
    });
    const show = () => {
      const value = app.state.get()[key];
      input.value = value === null ? "" : String(value);
    };
    app.state.on([key], show);
    show();
    return labelled(label, input);
  }

  const words = document.createElement("input");
  words.type = "text";
  words.placeholder = "The cat ate the fish";
  words.spellcheck = false;
  words.addEventListener("input", () => app.state.set({ text: words.value }, { replace: true }));
  const showWords = () => {
    if (document.activeElement !== words) words.value = app.state.get().text;
  };
  app.state.on(["text"], showWords);
  showWords();

  const legend = document.createElement("div");
  legend.className = "legend";
  function showLegend() {
    const colours = palette();
    /** @type {[string, Parameters<typeof swatch>[0]][]} */
    const entries = app.state.get().panel === "compare"
      ? [["both", "all"], ["only this", "left"], ["only the other", "right"], ["neither", "none"]]
      : [["none", "none"], ["few", ramp(1, 100, colours)], ["half", ramp(1, 2, colours)],
         ["nearly all", ramp(99, 100, colours)], [app.grid().layers ? "all reached" : "all allowed", "all"]];
    legend.replaceChildren(...entries.map(([name, kind]) => made("span", "", swatch(kind), name)));
  }
  app.state.on(["panel", "layers"], showLegend);
  app.onTheme(showLegend);
  showLegend();

  const more = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "Grid and tokens";
  const fields = document.createElement("div");
  fields.className = "fields";
  fields.append(
    number("queries", "qLen", 1), number("q_start", "qStart", 0), number("batch row", "b", 0), number("head", "h", 0),
    labelled("tokens on the axes", words),
  );
  more.append(summary, fields);
  root.append(legend, more);
}
