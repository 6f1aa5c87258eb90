// The expression box and the length: a written mask becomes the state's once the server has accepted it.
// @ts-check

import { gridParameters } from "./api.js";
import { describeMask } from "./facts.js";
import { byId } from "./panels/parts.js";
import { ranges } from "./ranges.js";
import { createSuggestions } from "./suggestions.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./suggestions.js").Pattern} Pattern */

const READ_AFTER = 180; // ms without a key before the mask is sent to the server
const MAX_HEIGHT = 120; // CSS pixels of the box

const EMPTY = "Write a mask here, such as causal; or choose one under Patterns, or press Escape.";

/** @param {HTMLTextAreaElement} box */
function fitHeight(box) {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, MAX_HEIGHT)}px`;
}

/** @param {HTMLTextAreaElement} box @param {HTMLElement} problem @param {HTMLElement} list */
function createProblem(box, problem, list) {
  /** Hidden while names are suggested, which helps more. */
  function update() {
    problem.hidden = !problem.textContent || !list.hidden;
  }
  return {
    update,
    /** @param {string} text empty: there is none */
    show(text) {
      problem.textContent = text;
      update();
      box.setAttribute("aria-invalid", String(Boolean(text)));
      byId("facts").classList.toggle("stale", Boolean(text)); // they are of the last accepted mask
    },
  };
}

/** @param {App} app */
function createLengthField(app) {
  const field = /** @type {HTMLInputElement} */ (byId("length"));
  const { low, high } = ranges.length;
  Object.assign(field, { min: String(low), max: String(high) });
  field.addEventListener("change", () => {
    const value = Math.min(Math.max(low, Math.floor(Number(field.value) || low)), high);
    field.value = String(value);
    app.state.set({ length: value, view: null, cell: null });
  });
  return field;
}

/**
 * Create the functions that send the box's text to the server: `read` takes it into the state if the server accepts it.
 * @param {App} app
 * @param {HTMLTextAreaElement} box
 * @param {(problem: string) => void} showProblem
 */
function createReader(app, box, showProblem) {
  let latest = 0;
  let edited = false; // the box holds another mask than the state
  let abort = new AbortController();
  return {
    edited: () => edited,
    /** @param {boolean} value */
    setEdited(value) {
      edited = value;
    },
    /** Ignore the answer to what was sent before. */
    forgetAnswer() {
      latest += 1;
    },
    async read() {
      const mask = box.value.trim();
      const turn = ++latest;
      if (mask === app.state.get().mask) {
        edited = false;
        showProblem("");
      }
      if (!mask) return showProblem(EMPTY);
      if (!edited) return;
      abort.abort(); // the server gives up the question before
      abort = new AbortController();
      try {
        await app.ask("describe", { ...gridParameters(app.state.get()), mask }, abort.signal);
        if (turn === latest) app.state.set({ mask, view: null, cell: null });
      } catch (error) {
        if (turn === latest) showProblem(String(/** @type {Error} */ (error).message));
      }
    },
  };
}

/**
 * Create the function that asks for the facts of the state's mask and shows them, or what is wrong with the mask.
 * @param {App} app
 * @param {{onAccepted: () => void, onProblem: (text: string) => void}} options
 */
function createFacts(app, { onAccepted, onProblem }) {
  const place = byId("facts");
  let latest = 0;
  let abort = new AbortController();
  return async function update() {
    const turn = ++latest;
    const parameters = gridParameters(app.state.get());
    place.classList.add("stale");
    abort.abort();
    abort = new AbortController();
    try {
      const facts = await app.ask("describe", parameters, abort.signal);
      if (turn !== latest) return;
      onAccepted();
      place.classList.remove("stale");
      place.textContent = describeMask(facts, parameters.layers);
    } catch (error) {
      if (turn !== latest) return;
      onProblem(String(/** @type {Error} */ (error).message));
      place.textContent = "";
    }
  };
}

/**
 * Create the editor: the expression box, its suggestions and problems, the length, and the line of facts.
 * @param {App} app
 */
export function createEditor(app) {
  const box = /** @type {HTMLTextAreaElement} */ (byId("expression"));
  const list = byId("suggestions");
  const length = createLengthField(app);
  const problem = createProblem(box, byId("problem"), list);
  const reader = createReader(app, box, problem.show);
  const updateFacts = createFacts(app, {
    onAccepted: () => reader.edited() || problem.show(""),
    onProblem: problem.show,
  });
  /** @type {Pattern[]} */
  let atoms = [];
  let timer = 0;
  const suggestions = createSuggestions(box, list, {
    atoms: () => atoms,
    length: () => app.state.get().length,
    onClose: problem.update,
    onComplete() {
      reader.setEdited(true);
      fitHeight(box);
      void reader.read();
    },
  });

  /** @param {Readonly<State>} state @param {Readonly<State>} [previous] */
  function show(state, previous) {
    if (state.mask !== previous?.mask) reader.setEdited(false);
    if (reader.edited()) void reader.read(); // on the grid, which has changed
    else if (box.value.trim() !== state.mask) box.value = state.mask;
    if (state.length !== previous?.length) length.value = String(state.length);
    fitHeight(box);
    void updateFacts();
  }

  box.addEventListener("input", () => {
    reader.setEdited(true);
    reader.forgetAnswer();
    fitHeight(box);
    suggestions.update();
    clearTimeout(timer);
    timer = window.setTimeout(reader.read, READ_AFTER);
  });
  box.addEventListener("blur", suggestions.close);
  addEventListener("resize", () => fitHeight(box));
  box.addEventListener("keydown", (event) => {
    if (suggestions.handleKey(event)) return;
    if (event.key === "Enter") event.preventDefault();
    else if (event.key === "Escape") box.value = app.state.get().mask;
    else return;
    suggestions.close();
    void reader.read();
  });
  byId("editor").addEventListener("submit", (event) => event.preventDefault());
  app.state.on(["mask", "length", "qLen", "qStart", "batch", "heads", "layers", "panel"], show);
  void app.ask("patterns", {}).then(({ patterns }) => {
    atoms = patterns.filter((/** @type {Pattern} */ { mask, name }) => mask.startsWith(name));
  });
  show(app.state.get());
}
