// The expression box: what is written becomes the state once the server has read it; mistakes get a caret, names a list.
// @ts-check

import { grid } from "./api.js";
import { whole } from "./panels/parts.js";
import { MAX_LENGTH } from "./state.js";

const PAUSE = 180; // ms without a key before the mask is read

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @typedef {{name: string, group: string, mask: string, length: number, used: string}} Pattern */

/** A sample for another length: lists that fill its own, such as those of documents, are stretched.
 * @param {string} sample @param {number} from @param {number} to */
export function fitted(sample, from, to) {
  return sample.replace(/\[(\d+(?:, \d+)*)\]/g, (list, numbers) => {
    const edges = [0];
    for (const length of numbers.split(", ")) edges.push(edges[edges.length - 1] + Number(length));
    if (edges[edges.length - 1] !== from || to < edges.length) return list;
    const [, ...ends] = edges.map((edge) => Math.round((edge / from) * to));
    return `[${ends.map((end, at) => end - (ends[at - 1] ?? 0)).join(", ")}]`;
  });
}

/** @param {import("./main.js").App} app */
export function createEditor(app) {
  const box = /** @type {HTMLTextAreaElement} */ (element("expression"));
  const length = /** @type {HTMLInputElement} */ (element("length"));
  const problem = element("problem");
  const list = element("suggestions");
  /** @type {Pattern[]} */
  let atoms = [];
  let timer = 0;
  let asked = 0;
  let reading = 0;
  // What is asked again is given up first, so that the server does not work for nobody.
  let [describing, trying] = [new AbortController(), new AbortController()];
  let edited = false; // what is written is not, or not yet, the state's mask
  let chosen = -1;

  function fit() {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, 120)}px`;
  }

  /** @param {Readonly<import("./state.js").State>} state @param {Readonly<import("./state.js").State>} [before] */
  function show(state, before) {
    if (state.mask !== before?.mask) edited = false;
    // Also over what is being written: it is the state that has changed.
    if (edited) void read(); // on the grid that has just changed
    else if (box.value.trim() !== state.mask) box.value = state.mask;
    if (state.length !== before?.length) length.value = String(state.length);
    fit();
    element("facts").classList.add("stale");
    void describe();
  }

  /** Facts of the mask in the state, or what is wrong with it. */
  async function describe() {
    const turn = ++asked;
    const state = app.state.get();
    describing.abort();
    describing = new AbortController();
    try {
      const found = await app.ask("describe", grid(state), describing.signal);
      if (turn !== asked) return;
      if (!edited) complain("");
      const share = found.cells ? (found.allowed / found.cells) * 100 : 0;
      const [batch, heads, q, k] = found.shape;
      const planes = batch * heads > 1 ? ` for each of ${batch} × ${heads} (batch × heads)` : "";
      const rows = found.empty_rows === 1 ? "row" : "rows";
      const empty = found.empty_rows ? `, ${whole(found.empty_rows)} empty ${rows}` : "";
      const { layers } = grid(state);
      const how = layers ? `reached through ${layers} ${layers === "1" ? "layer" : "layers"}` : "allowed";
      element("facts").classList.remove("stale");
      element("facts").textContent =
        `${whole(found.allowed)} of ${whole(found.cells)} pairs ${how} ` +
        `(${share < 0.01 && share > 0 ? share.toExponential(1) : share.toFixed(share < 1 ? 3 : 1)} %), ` +
        `${whole(q)} × ${whole(k)}${planes}${empty}; queries\u00a0↓, keys\u00a0→`;
    } catch (error) {
      if (turn !== asked) return;
      complain(String(/** @type {Error} */ (error).message));
      element("facts").textContent = "";
    }
  }

  /** @param {string} text */
  function complain(text) {
    problem.textContent = text;
    problem.hidden = !text || !list.hidden; // a list of names is the better help
    box.setAttribute("aria-invalid", String(Boolean(text)));
    element("facts").classList.toggle("stale", Boolean(text)); // of the last good mask
  }

  /** Take what is written, if the server can read it; the picture keeps the last good mask until then. */
  async function read() {
    const mask = box.value.trim();
    const turn = ++reading;
    if (mask === app.state.get().mask) {
      edited = false;
      complain("");
    }
    if (!mask) return complain("A mask is written here, such as causal; choose one under Patterns, or press Escape.");
    if (!edited) return;
    trying.abort();
    trying = new AbortController();
    try {
      await app.ask("describe", { ...grid(app.state.get()), mask }, trying.signal);
      if (turn === reading) app.state.set({ mask, view: null, cell: null });
    } catch (error) {
      if (turn === reading) complain(String(/** @type {Error} */ (error).message));
    }
  }

  function closeList() {
    list.hidden = true;
    box.removeAttribute("aria-activedescendant");
    problem.hidden = !problem.textContent;
  }

  const word = () => /[A-Za-z_]\w*$/.exec(box.value.slice(0, box.selectionStart))?.[0] ?? "";

  function suggest() {
    const begun = word();
    const found = begun ? atoms.filter(({ name }) => name.startsWith(begun) && name !== begun).slice(0, 8) : [];
    chosen = -1;
    box.removeAttribute("aria-activedescendant");
    list.hidden = found.length === 0;
    if (list.hidden) closeList();
    list.replaceChildren(...found.map(({ mask: sample, length: long, used }, index) => {
      const mask = fitted(sample, long, app.state.get().length);
      const option = document.createElement("div");
      option.role = "option";
      option.id = `suggestion-${index}`;
      const [code, note] = [document.createElement("code"), document.createElement("span")];
      code.textContent = mask;
      note.textContent = used;
      option.append(code, note);
      option.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(mask);
      });
      return option;
    }));
    const { left, bottom } = box.getBoundingClientRect();
    list.style.left = `${left}px`;
    list.style.top = `${bottom + 4}px`;
  }

  /** @param {string} text */
  function take(text) {
    const at = box.selectionStart;
    const from = at - word().length;
    box.setRangeText(text, from, at, "end");
    // its first number is what is most likely changed next
    const number = /\d+/.exec(text);
    if (number) box.setSelectionRange(from + number.index, from + number.index + number[0].length);
    closeList();
    edited = true;
    fit();
    void read();
  }

  /** @param {number} step */
  function choose(step) {
    const options = [...list.children];
    chosen = (chosen + step + options.length) % options.length;
    options.forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)));
    box.setAttribute("aria-activedescendant", `suggestion-${chosen}`);
  }

  box.addEventListener("input", () => {
    edited = true;
    reading += 1; // an answer to what was written before is no news
    fit();
    suggest();
    clearTimeout(timer);
    timer = window.setTimeout(read, PAUSE);
  });
  box.addEventListener("blur", closeList);
  addEventListener("resize", fit);
  box.addEventListener("keydown", (event) => {
    if (!list.hidden && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      choose(event.key === "ArrowDown" ? 1 : -1);
    } else if (!list.hidden && (event.key === "Tab" || event.key === "Enter") && chosen >= 0) {
      event.preventDefault();
      take(list.children[chosen].querySelector("code")?.textContent ?? "");
    } else if (event.key === "Enter") {
      event.preventDefault();
      closeList();
      void read();
    } else if (event.key === "Escape") {
      closeList();
      box.value = app.state.get().mask;
      void read();
    }
  });
  element("editor").addEventListener("submit", (event) => event.preventDefault());
  length.addEventListener("change", () => {
    const value = Math.min(Math.max(1, Math.floor(Number(length.value) || 1)), MAX_LENGTH);
    length.value = String(value);
    app.state.set({ length: value, view: null, cell: null });
  });
  app.state.on(["mask", "length", "qLen", "qStart", "batch", "heads", "layers", "panel"], show);
  void app.ask("patterns", {}).then(({ patterns }) => {
    atoms = patterns.filter((/** @type {Pattern} */ { mask, name }) => mask.startsWith(name));
  });
  show(app.state.get());
}
