// What panels are built of: elements, fields, numbers as text, and keeping in step with the state.
// @ts-check

import { grid } from "../api.js";
import { css, palette } from "../matrix/paint.js";
import { DEFAULTS } from "../state.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").State} State */

const SLOW = 400; // ms, after which a panel says that it waits

/** An element with a class and what is in it.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {string} [name] @param {(Node|string)[]} content @returns {HTMLElementTagNameMap[T]} */
export function made(tag, name = "", ...content) {
  const out = document.createElement(tag);
  if (name) out.className = name;
  out.append(...content);
  return out;
}

/** An element of a drawing. @param {string} tag @param {Record<string, string|number>} attributes
 * @param {(Node|string)[]} content */
export function drawn(tag, attributes, ...content) {
  const out = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) out.setAttribute(name, String(value));
  out.append(...content);
  return out;
}

/** A button. @param {string} text @param {() => void} act @param {string} [name] */
export function button(text, act, name = "") {
  const out = made("button", name, text);
  out.type = "button";
  out.addEventListener("click", act);
  return out;
}

/** A field with its label before it. @param {string} text @param {HTMLElement} field */
export const labelled = (text, field) => made("label", "field", made("span", "", text), field);

/** A field for a whole number; what is written outside its bounds, which may be set anew later, is brought inside.
 * @param {{low: number, high: number, value: number, act: (value: number) => void}} how */
export function numberField({ low, high, value, act }) {
  const out = made("input");
  Object.assign(out, { type: "number", min: String(low), max: String(high), step: "1", value: String(value) });
  out.inputMode = "numeric";
  out.addEventListener("change", () => {
    const [least, most] = [Number(out.min), Number(out.max)];
    const next = Math.min(Math.max(Math.floor(Number(out.value) || least), least), most);
    out.value = String(next);
    act(next);
  });
  return out;
}

/** One of several, as buttons of which one is pressed.
 * @param {string} label @param {[string, string][]} options value and text @param {(value: string) => void} act */
export function choice(label, options, act) {
  const root = made("div", "choice");
  root.setAttribute("role", "radiogroup");
  root.setAttribute("aria-label", label);
  const buttons = options.map(([value, text]) => button(text, () => act(value)));
  for (const one of buttons) one.setAttribute("role", "radio");
  root.append(...buttons);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons.findIndex((one) => one === document.activeElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  /** @param {string} value */
  function show(value) {
    buttons.forEach((one, index) => {
      const chosen = options[index][0] === value;
      one.setAttribute("aria-checked", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
    });
  }
  show(options[0][0]);
  return { root, show };
}

/** Rows of a table: the first cell heads its row. @param {string[]} heads @param {(Node|string)[][]} rows
 * @param {string} [name] */
export function table(heads, rows, name = "") {
  const out = made("table", name);
  if (heads.length) {
    const line = made("tr");
    for (const text of heads) {
      const cell = made(text ? "th" : "td", "", text);
      if (text) cell.setAttribute("scope", "col");
      line.append(cell);
    }
    out.append(made("thead", "", line));
  }
  const body = made("tbody");
  for (const [first, ...rest] of rows) {
    const head = made("th", "", first);
    head.scope = "row";
    body.append(made("tr", "", head, ...rest.map((content) => made("td", "", content))));
  }
  out.append(body);
  return out;
}

/** A bar of a part of the whole width. @param {number} part in [0, 1] @param {string} [name] */
export function bar(part, name = "") {
  const fill = made("i");
  fill.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
  const out = made("span", `meter ${name}`, fill);
  out.setAttribute("aria-hidden", "true");
  return out;
}

const digits = new Intl.NumberFormat("en-US"); // one for all: each call of toLocaleString makes its own

/** @param {number} value */
export const whole = (value) => digits.format(value);

/** @param {number} part of 1 */
export function percent(part) {
  const value = part * 100;
  if (value === 0 || value === 100) return `${value} %`;
  if (value < 0.01) return `${value.toExponential(1)} %`;
  return `${value.toFixed(value < 1 ? 2 : 1)} %`;
}

/** @param {number} value @param {string} unit @param {number} [base] 1000 or 1024 */
export function scaled(value, unit, base = 1000) {
  const names = base === 1024 ? ["", "Ki", "Mi", "Gi", "Ti", "Pi"] : ["", "k", "M", "G", "T", "P", "E"];
  let power = 0;
  while (value >= base && power < names.length - 1) {
    value /= base;
    power += 1;
  }
  const digits = power === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${names[power]}${unit}`;
}

/** The state keys that say which mask, grid and plane. @type {(keyof State)[]} */
export const GRID = ["mask", "length", "qLen", "qStart", "batch", "heads", "b", "h"];

/** Load a mask at a length, and nothing of what was set for the one before. @param {string} mask @param {number} length
 * @returns {Partial<State>} */
export function fresh(mask, length) {
  const { qLen, qStart, batch, heads, b, h, view, cell, layers } = DEFAULTS;
  return { mask, length, qLen, qStart, batch, heads, b, h, view, cell, layers };
}

/** Say what went wrong, in the panel; where the length is the reason, offer a shorter one.
 * @param {App} app @param {HTMLElement} notice @param {unknown} error @param {number} [length] */
export function refuse(app, notice, error, length = 32) {
  const text = error instanceof Error ? error.message : String(error ?? "");
  notice.className = text.includes("\n") ? "notice caret" : "notice";
  notice.hidden = !error;
  notice.replaceChildren(text);
  if (/shorten the length|shorter length/i.test(text)) {
    const shorter = button(`Set length ${length}`, () =>
      app.state.set({ length, qLen: null, qStart: null, view: null, cell: null }),
    );
    notice.append(made("div", "", shorter));
  }
}

/** Say that the answer is on its way. @param {HTMLElement} notice */
function wait(notice) {
  notice.className = "notice waiting";
  notice.hidden = false;
  notice.replaceChildren("Counting …");
}

/** A place for what `refuse` says. */
export function noticePlace() {
  const out = made("div", "notice");
  out.setAttribute("role", "alert");
  out.hidden = true;
  return out;
}

/** Ask and draw when one of the keys changes, while the panel is open; otherwise when it is opened again.
 * @template T
 * @param {App} app @param {string} id of the panel @param {(keyof State)[]} keys
 * @param {{notice: HTMLElement, body?: HTMLElement, length?: number, ask: (signal: AbortSignal) => Promise<T>,
 *   show: (found: T) => void}} how
 *   body: hidden while there is nothing to show, dimmed while its answer is on the way; length: what is offered where the state's is too long */
export function follow(app, id, keys, { notice, body, length, ask, show }) {
  let stale = true;
  let turn = 0;
  let timer = 0;
  let asking = new AbortController();
  if (body) body.hidden = true; // until there is something to show

  async function run() {
    if (app.state.get().panel !== id) return; // closed meanwhile: asked when it is opened again
    const mine = ++turn;
    stale = false;
    asking.abort();
    asking = new AbortController();
    const slow = setTimeout(() => mine === turn && wait(notice), SLOW);
    try {
      const found = await ask(asking.signal);
      if (mine !== turn || stale) return;
      body?.classList.remove("stale");
      refuse(app, notice, null);
      if (body) body.hidden = false;
      show(found);
    } catch (error) {
      if (mine !== turn || stale) return;
      if (body) body.hidden = true;
      refuse(app, notice, error, length);
    } finally {
      clearTimeout(slow);
    }
  }

  function check() {
    if (!stale || app.state.get().panel !== id) return;
    clearTimeout(timer);
    timer = window.setTimeout(run, 30);
  }
  const again = () => {
    stale = true;
    body?.classList.add("stale"); // what it shows is of the state before
    check();
  };
  app.state.on(keys, again);
  app.state.on(["panel"], check);
  check();
  return again;
}

/** The longest side that panels show number by number. */
export const SHORT = 64;

/** Every cell of a short grid.
 * @typedef {{rows: string[], last_seen: number[], documents: number[]|null, q_start: number}} Cells */
/** @param {App} app @param {AbortSignal} signal @param {string} what is shown of them
 * @param {boolean} [square] all positions are queries @returns {Promise<Cells>} */
export async function cellsOf(app, signal, what, square = false) {
  const state = app.state.get();
  const { length } = state;
  const longest = square ? length : Math.max(length, state.qLen ?? length);
  if (longest > SHORT)
    throw new Error(`${what} up to ${SHORT} positions; there are ${whole(longest)}; set a shorter length.`);
  return app.ask("cells", grid(square ? { ...state, qLen: null, qStart: null } : state), signal);
}

/** A small square in the colour, and with the pattern, of a kind of cell.
 * @param {"all"|"none"|"left"|"right"|import("../matrix/paint.js").Rgb} kind */
export function swatch(kind) {
  const out = made("i", "swatch");
  const { stripe, dot, ...colours } = palette();
  const pattern = {
    left: `repeating-linear-gradient(135deg, ${css(stripe)} 0 1.2px, transparent 1.2px 4.2px)`,
    right: `radial-gradient(${css(dot)} 1.1px, transparent 1.4px) 0 0 / 5px 5px`,
  }[String(kind)];
  out.style.background = `${pattern ?? ""} ${css(typeof kind === "string" ? colours[kind] : kind)}`;
  return out;
}

/** Save a file. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = made("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Copy a text, and say so on the button. @param {App} app @param {HTMLButtonElement} on @param {() => string} text */
export function copies(app, on, text) {
  const label = on.textContent ?? "";
  on.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      on.textContent = "Copied";
    } catch {
      on.textContent = "The browser does not allow it";
    }
    app.announce(on.textContent);
    setTimeout(() => (on.textContent = label), 1500);
  });
  return on;
}
