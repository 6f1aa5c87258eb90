// What the page shows, as one frozen object; its address says all of it, so that a link brings it back.
// @ts-check

/** @typedef {{q: number, k: number, zoom: number}} View  top left cell; pixels a cell, or one over a power of two */
/** @typedef {{q: number, k: number}} Cell */
/**
 * @typedef {object} State
 * @property {string} mask
 * @property {number} length
 * @property {number|null} qLen
 * @property {number|null} qStart
 * @property {number|null} batch
 * @property {number|null} heads
 * @property {number} b
 * @property {number} h
 * @property {number} layers
 * @property {string} panel
 * @property {View|null} view
 * @property {Cell|null} cell
 * @property {string} other
 * @property {string} text  tokens on the axes
 * @property {"auto"|"light"|"dark"} theme
 * @property {Record<string, Record<string, string>>} p  what each panel remembers of itself
 */

export const MAX_LENGTH = 1 << 20;

const [REST, LATEST] = [250, 3000]; // ms from the last change, and the first, until the address says them

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

/** A whole number in [low, high], or what there is instead of one.
 * @template T @param {string|null} text @param {number} low @param {number} high @param {T} otherwise
 * @returns {number|T} */
function whole(text, low, high, otherwise) {
  if (text === null || !/^\d{1,16}$/.test(text)) return otherwise;
  const value = Number(text);
  return value >= low && value <= high ? value : otherwise;
}

/** @param {string|null} text @param {number} parts @returns {number[]|null} */
function numbers(text, parts) {
  const values = (text ?? "").split(",").map(Number);
  return text && values.length === parts && values.every((value) => Number.isFinite(value)) ? values : null;
}

/** The state that an address says; what it leaves out, or says wrongly, is the default.
 * @param {string} search @returns {State} */
export function read(search) {
  const query = new URLSearchParams(search);
  const view = numbers(query.get("view"), 3);
  const cell = numbers(query.get("cell"), 2);
  const theme = query.get("theme");
  /** @type {Record<string, Record<string, string>>} */
  const p = {};
  for (const [name, value] of query) {
    // only names of our own making, none that every object knows, such as __proto__ and constructor
    const [panel, key] = name.split(".");
    if (/^[a-z]\w*\.[a-z]\w*$/.test(name) && !(panel in Object.prototype)) (p[panel] ??= {})[key] = value;
  }
  return {
    mask: query.get("mask") ?? DEFAULTS.mask,
    length: whole(query.get("length"), 1, MAX_LENGTH, DEFAULTS.length),
    qLen: whole(query.get("q_len"), 1, MAX_LENGTH, null),
    qStart: whole(query.get("q_start"), 0, MAX_LENGTH, null),
    batch: whole(query.get("batch"), 1, 256, null),
    heads: whole(query.get("heads"), 1, 256, null),
    b: whole(query.get("b"), 0, 255, 0),
    h: whole(query.get("h"), 0, 255, 0),
    layers: whole(query.get("layers"), 0, 1024, 0),
    panel: query.get("panel") ?? DEFAULTS.panel,
    view: view && view[2] > 0 ? { q: view[0], k: view[1], zoom: view[2] } : null,
    cell: cell ? { q: Math.max(0, Math.floor(cell[0])), k: Math.max(0, Math.floor(cell[1])) } : null,
    other: query.get("other") ?? DEFAULTS.other,
    text: query.get("text") ?? "",
    theme: theme === "light" || theme === "dark" ? theme : "auto",
    p,
  };
}

/** The address of a state: only what differs from the default.
 * @param {Readonly<State>} state @returns {string} */
export function write(state) {
  const query = new URLSearchParams();
  /** @type {[string, keyof State][]} */
  const plain = [
    ["mask", "mask"], ["length", "length"], ["q_len", "qLen"], ["q_start", "qStart"], ["batch", "batch"],
    ["heads", "heads"], ["b", "b"], ["h", "h"], ["layers", "layers"], ["panel", "panel"], ["other", "other"],
    ["text", "text"], ["theme", "theme"],
  ];
  for (const [name, key] of plain) {
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

/** The position of the first query: without q_start the queries are the last ones. @param {Readonly<State>} state */
export const firstQuery = ({ qStart, qLen, length }) => qStart ?? Math.max(0, length - (qLen ?? length));

/** @typedef {(state: Readonly<State>, before: Readonly<State>) => void} Listener */

/** The page's one state, in step with its address. */
export function createState() {
  let current = Object.freeze(read(location.search));
  /** @type {{keys: (keyof State)[]|null, listener: Listener}[]} */
  const listeners = [];

  /** @param {Readonly<State>} next */
  function change(next) {
    const before = current;
    current = Object.freeze(next);
    for (const { keys, listener } of listeners) {
      if (!keys || keys.some((key) => current[key] !== before[key])) listener(current, before);
    }
  }

  // Pages may call history only so often (Safari: 100 in 30 s), and browsers take their time over each: while something
  // is dragged, the last address wins.
  let waiting = 0;
  let since = 0;
  function settle() {
    clearTimeout(waiting);
    waiting = since = 0;
    history.replaceState(null, "", write(current));
  }
  function settleLater() {
    const now = performance.now();
    since ||= now;
    clearTimeout(waiting);
    waiting = window.setTimeout(settle, Math.min(REST, since + LATEST - now));
  }

  addEventListener("popstate", () => change(read(location.search)));

  return {
    get: () => current,
    /** @param {Partial<State>} patch @param {{replace?: boolean}} [how] replace: no step for the back button */
    set(patch, { replace = false } = {}) {
      const next = { ...current, ...patch };
      if (replace) {
        settleLater();
      } else if (write(next) !== write(current)) {
        if (waiting) settle();
        history.pushState(null, "", write(next));
      }
      change(next);
    },
    /** What a panel remembers. @param {string} panel @param {Record<string, string>} patch */
    remember(panel, patch) {
      this.set({ p: { ...current.p, [panel]: { ...current.p[panel], ...patch } } }, { replace: true });
    },
    /** @param {(keyof State)[]|null} keys @param {Listener} listener */
    on(keys, listener) {
      listeners.push({ keys, listener });
    },
  };
}

/** @typedef {ReturnType<typeof createState>} Store */
