// Under the matrix: the legend of its colours, and fields for the grid, the plane that is shown and the tokens.
// @ts-check

import { palette, ramp } from "./matrix/paint.js";
import { make, makeSwatch } from "./panels/parts.js";
import { ranges } from "./ranges.js";

/** @typedef {import("./main.js").App} App */

/**
 * Fields of numbers: label, key of the state, range.
 * @type {[string, "b"|"h"|"qStart"|"qLen", import("./ranges.js").Range][]}
 */
const NUMBERS = [
  ["queries", "qLen", ranges.q_len],
  ["q_start", "qStart", ranges.q_start],
  ["batch row", "b", ranges.b],
  ["head", "h", ranges.h],
];

/** @param {string} text @param {HTMLElement} input */
const withLabel = (text, input) => make("label", "", `${text} `, input);

/**
 * Create a field for a number of the state. An empty field means all queries, or the first plane.
 * @param {App} app
 * @param {typeof NUMBERS[number]} number
 */
function makeGridField(app, [label, key, { low, high }]) {
  const input = make("input");
  Object.assign(input, { type: "number", min: String(low), max: String(high), placeholder: "all" });
  const empty = key === "b" || key === "h" ? 0 : null;

  function show() {
    const value = app.state.get()[key];
    input.value = value === null ? "" : String(value);
  }
  input.addEventListener("change", () => {
    const value = input.value === "" ? empty : Math.min(Math.max(low, Math.floor(Number(input.value))), high);
    app.state.set({ [key]: value, view: null, cell: null });
    show(); // also where the state did not change
  });
  app.state.on([key], show);
  show();
  return withLabel(label, input);
}

/** @param {App} app */
function makeTokenField(app) {
  const input = make("input");
  Object.assign(input, { type: "text", placeholder: "The cat ate the fish", spellcheck: false });
  input.addEventListener("input", () => app.state.set({ text: input.value }, { replace: true }));
  function show() {
    if (document.activeElement !== input) input.value = app.state.get().text;
  }
  app.state.on(["text"], show);
  show();
  return withLabel("tokens on the axes", input);
}

/** @param {App} app */
function makeLegend(app) {
  const root = make("div", "legend");
  function show() {
    const colours = palette();
    /** @type {[string, Parameters<typeof makeSwatch>[0]][]} */
    const entries = app.state.get().panel === "compare"
      ? [["both", "all"], ["only this", "left"], ["only the other", "right"], ["neither", "none"]]
      : [["none", "none"], ["few", ramp(1, 100, colours)], ["half", ramp(1, 2, colours)],
         ["nearly all", ramp(99, 100, colours)], [app.grid().layers ? "all reached" : "all allowed", "all"]];
    root.replaceChildren(...entries.map(([name, kind]) => make("span", "", makeSwatch(kind), name)));
  }
  app.state.on(["panel", "layers"], show);
  app.onTheme(show);
  show();
  return root;
}

/**
 * Create the legend and the fields of the grid.
 * @param {App} app
 * @param {HTMLElement} root
 */
export function createControls(app, root) {
  const fields = make("div", "fields", ...NUMBERS.map((number) => makeGridField(app, number)), makeTokenField(app));
  root.append(makeLegend(app), make("details", "", make("summary", "", "Grid and tokens"), fields));
}
