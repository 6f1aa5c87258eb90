// What the page shows, as one frozen object. The address holds all of it, so that a link restores it.
// @ts-check

import { ranges } from "./ranges.js";

/** @typedef {{q: number, k: number, zoom: number}} View  top left cell; pixels per cell, below 1 an exact fraction */
/** @typedef {{q: number, k: number}} Cell  absolute positions of a query and a key */
/**
 * @typedef {object} State
 * @property {string} mask  the expression
 * @property {number} length  keys; queries too where qLen is null
 * @property {number|null} qLen
 * @property {number|null} qStart  position of the first query
 * @property {number|null} batch
 * @property {number|null} heads
 * @property {number} b  batch row that is shown
 * @property {number} h  head that is shown
 * @property {number} layers  of the reach that Depth shows; 0 is the mask itself
 * @property {string} panel  id of the open panel
 * @property {View|null} view  null shows the full matrix
 * @property {Cell|null} cell  the pinned cell
 * @property {string} other  the second mask of Compare
 * @property {string} text  tokens on the axes
 * @property {"auto"|"light"|"dark"} theme
 * @property {Record<string, Record<string, string>>} p  fields of each panel, by its id
 */

// ms from the last change, and from the first, until the address is written
const WRITE_DELAY = { afterLast: 250, afterFirst: 3000 };

/** @type {Readonly<State>} */
export const DEFAULTS = Object.freeze({
  mask: "causal & (sliding_window(8) | sinks(2))",
  length: 32,
  qLen: null,
  qStart: null,
  batch: null,
  heads: null,
  b: 0,
  h: 0,
  layers: 0,
  panel: "why",
  view: null,
  cell: null,
  other: "causal",
  text: "",
  theme: "auto",
  p: {},
});

/**
 * @template T
 * @param {string|null} text
 * @param {import("./ranges.js").Range} range
 * @param {T} otherwise returned where the text is no integer of the range
 * @returns {number|T}
 */
function parseInteger(text, { low, high }, otherwise) {
  if (text === null || !/^\d{1,16}$/.test(text)) return otherwise;
  const value = Number(text);
  return value >= low && value <= high ? value : otherwise;
}

/** @param {string|null} text numbers with commas between them @param {number} count @returns {number[]|null} */
function parseNumbers(text, count) {
  const values = (text ?? "").split(",").map(Number);
  return text && values.length === count && values.every((value) => Number.isFinite(value)) ? values : null;
}

/** @param {URLSearchParams} query @returns {Record<string, Record<string, string>>} */
function parsePanelFields(query) {
  /** @type {Record<string, Record<string, string>>} */
  const fields = {};
  for (const [name, value] of query) {
    // Names such as softmax.row only; never a property that every object has, such as __proto__ and constructor.
    const [panel, key] = name.split(".");
    if (/^[a-z]\w*\.[a-z]\w*$/.test(name) && !(panel in Object.prototype)) (fields[panel] ??= {})[key] = value;
  }
  return fields;
}

/**
 * Return the state in an address. What the address leaves out, or gives wrongly, is the default.
 * @param {string} search
 * @returns {State}
 */
export function readAddress(search) {
  const query = new URLSearchParams(search);
  const view = parseNumbers(query.get("view"), 3);
  const cell = parseNumbers(query.get("cell"), 2);
  const theme = query.get("theme");
  return {
    mask: query.get("mask") ?? DEFAULTS.mask,
    length: parseInteger(query.get("length"), ranges.length, DEFAULTS.length),
    qLen: parseInteger(query.get("q_len"), ranges.q_len, null),
    qStart: parseInteger(query.get("q_start"), ranges.q_start, null),
    batch: parseInteger(query.get("batch"), ranges.batch, null),
    heads: parseInteger(query.get("heads"), ranges.heads, null),
    b: parseInteger(query.get("b"), ranges.b, 0),
    h: parseInteger(query.get("h"), ranges.h, 0),
    layers: parseInteger(query.get("layers"), ranges.layers, 0),
    panel: query.get("panel") ?? DEFAULTS.panel,
    view: view && view[2] > 0 ? { q: view[0], k: view[1], zoom: view[2] } : null,
    cell: cell ? { q: Math.max(0, Math.floor(cell[0])), k: Math.max(0, Math.floor(cell[1])) } : null,
    other: query.get("other") ?? DEFAULTS.other,
    text: query.get("text") ?? "",
    theme: theme === "light" || theme === "dark" ? theme : "auto",
    p: parsePanelFields(query),
  };
}

/**
 * Return the address of a state: only what differs from the default.
 * @param {Readonly<State>} state
 * @returns {string}
 */
export function writeAddress(state) {
  const query = new URLSearchParams();
  /** @type {[string, keyof State][]} */
  const scalars = [
    ["mask", "mask"], ["length", "length"], ["q_len", "qLen"], ["q_start", "qStart"], ["batch", "batch"],
    ["heads", "heads"], ["b", "b"], ["h", "h"], ["layers", "layers"], ["panel", "panel"], ["other", "other"],
    ["text", "text"], ["theme", "theme"],
  ];
  for (const [name, key] of scalars) {
    if (state[key] !== DEFAULTS[key] && state[key] !== null) query.set(name, String(state[key]));
  }
  if (state.view) query.set("view", `${state.view.q},${state.view.k},${state.view.zoom}`);
  if (state.cell) query.set("cell", `${state.cell.q},${state.cell.k}`);
  for (const [panel, values] of Object.entries(state.p)) {
    for (const [key, value] of Object.entries(values)) query.set(`${panel}.${key}`, value);
  }
  const text = query.toString();
  return text ? `?${text}` : "?";
}

/**
 * Return the position of the first query. Without q_start the queries are the last positions.
 * @param {Readonly<State>} state
 */
export const firstQuery = ({ qStart, qLen, length }) => qStart ?? Math.max(0, length - (qLen ?? length));

/** @typedef {(state: Readonly<State>, previous: Readonly<State>) => void} Listener */

/**
 * Create the writer of the address. Browsers limit how often a page may change it (Safari: 100 times in 30 s) and take
 * their time over each, so while something is dragged only the last address is written.
 * @param {() => string} address
 */
function createAddressWriter(address) {
  let timer = 0;
  let first = 0; // time of the first change that is not written yet

  function writeNow() {
    clearTimeout(timer);
    timer = first = 0;
    history.replaceState(null, "", address());
  }
  return {
    writeLater() {
      const now = performance.now();
      first ||= now;
      clearTimeout(timer);
      timer = window.setTimeout(writeNow, Math.min(WRITE_DELAY.afterLast, first + WRITE_DELAY.afterFirst - now));
    },
    /** Write what waits, if anything does. */
    flush() {
      if (timer) writeNow();
    },
  };
}

/** Create the page's one state, in step with its address. */
export function createState() {
  let current = Object.freeze(readAddress(location.search));
  const address = createAddressWriter(() => writeAddress(current));
  /** @type {{keys: (keyof State)[]|null, listener: Listener}[]} */
  const listeners = [];

  /** @param {Readonly<State>} next */
  function change(next) {
    const previous = current;
    current = Object.freeze(next);
    for (const { keys, listener } of listeners) {
      if (!keys || keys.some((key) => current[key] !== previous[key])) listener(current, previous);
    }
  }

  addEventListener("popstate", () => change(readAddress(location.search)));

  return {
    get: () => current,
    /**
     * Change the state.
     * @param {Partial<State>} patch
     * @param {{replace?: boolean}} [options] replace: add no step for the back button
     */
    set(patch, { replace = false } = {}) {
      const next = { ...current, ...patch };
      if (replace) {
        address.writeLater();
      } else if (writeAddress(next) !== writeAddress(current)) {
        address.flush();
        history.pushState(null, "", writeAddress(next));
      }
      change(next);
    },
    /**
     * Store fields of a panel.
     * @param {string} panel its id
     * @param {Record<string, string>} patch
     */
    remember(panel, patch) {
      this.set({ p: { ...current.p, [panel]: { ...current.p[panel], ...patch } } }, { replace: true });
    },
    /**
     * Call `listener` after one of the keys changed, or after any change where `keys` is null.
     * @param {(keyof State)[]|null} keys
     * @param {Listener} listener
     */
    on(keys, listener) {
      listeners.push({ keys, listener });
    },
  };
}

/** @typedef {ReturnType<typeof createState>} Store */
