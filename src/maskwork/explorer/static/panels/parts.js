// What panels are built of: elements, fields, choices, tables, notices.
// @ts-check

import { css, palette } from "../matrix/paint.js";
import { DEFAULTS } from "../state.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").State} State */

/**
 * Return the element of index.html with this id.
 * @param {string} id
 */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * Create an element with a class and contents.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [name] its class
 * @param {(Node|string)[]} content
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, name = "", ...content) {
  const out = document.createElement(tag);
  if (name) out.className = name;
  out.append(...content);
  return out;
}

/**
 * Create an element of an SVG drawing.
 * @param {string} tag
 * @param {Record<string, string|number>} attributes
 * @param {(Node|string)[]} content
 */
export function makeSvg(tag, attributes, ...content) {
  const out = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) out.setAttribute(name, String(value));
  out.append(...content);
  return out;
}

/**
 * Create a button.
 * @param {string} text
 * @param {() => void} act called on a click
 * @param {string} [name] its class
 */
export function makeButton(text, act, name = "") {
  const out = make("button", name, text);
  out.type = "button";
  out.addEventListener("click", act);
  return out;
}

/**
 * Wrap a field in its label.
 * @param {string} text
 * @param {HTMLElement} field
 */
export const withLabel = (text, field) => make("label", "field", make("span", "", text), field);

/**
 * Create a field for an integer. A value outside its min and max, which may change later, is moved inside.
 * @param {{low: number, high: number, value: number, act: (value: number) => void}} options
 */
export function makeNumberField({ low, high, value, act }) {
  const out = make("input");
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

/**
 * Focus and click the button that is `step` after the focused one, round the end: arrow keys in a group of buttons.
 * @param {HTMLElement[]} buttons
 * @param {number} step
 */
export function clickNext(buttons, step) {
  const focused = buttons.findIndex((button) => button === document.activeElement);
  const next = buttons[(focused + step + buttons.length) % buttons.length];
  next.focus();
  next.click();
}

/**
 * Create a choice of one among several, as a group of radio buttons.
 * @param {string} label
 * @param {[string, string][]} options value and text
 * @param {(value: string) => void} act
 */
export function makeChoice(label, options, act) {
  const root = make("div", "choice");
  root.setAttribute("role", "radiogroup");
  root.setAttribute("aria-label", label);
  const buttons = options.map(([value, text]) => makeButton(text, () => act(value)));
  for (const button of buttons) button.setAttribute("role", "radio");
  root.append(...buttons);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    clickNext(buttons, step);
  });
  /** @param {string} value */
  function show(value) {
    buttons.forEach((button, index) => {
      const chosen = options[index][0] === value;
      button.setAttribute("aria-checked", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    });
  }
  show(options[0][0]);
  return { root, show };
}

/**
 * Create a table. The first cell of a row is its head.
 * @param {string[]} heads of the columns; none: the table has no head
 * @param {(Node|string)[][]} rows
 * @param {string} [name] its class
 */
export function makeTable(heads, rows, name = "") {
  const out = make("table", name);
  if (heads.length) {
    const line = make("tr");
    for (const text of heads) {
      const cell = make(text ? "th" : "td", "", text);
      if (text) cell.setAttribute("scope", "col");
      line.append(cell);
    }
    out.append(make("thead", "", line));
  }
  const body = make("tbody");
  for (const [first, ...rest] of rows) {
    const head = make("th", "", first);
    head.scope = "row";
    body.append(make("tr", "", head, ...rest.map((content) => make("td", "", content))));
  }
  out.append(body);
  return out;
}

/**
 * Create a bar that fills a share of its width.
 * @param {number} share in [0, 1]
 * @param {string} [name] its class
 */
export function makeBar(share, name = "") {
  const fill = make("i");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  const out = make("span", `meter ${name}`, fill);
  out.setAttribute("aria-hidden", "true");
  return out;
}

/**
 * Put a text after a bar.
 * @param {HTMLElement} bar
 * @param {string} text
 */
export const makeFigure = (bar, text) => make("span", "figure", bar, make("span", "", text));

/**
 * Return the part of the state that shows a mask at a length and resets what belonged to the mask before.
 * @param {string} mask
 * @param {number} length
 * @returns {Partial<State>}
 */
export function loadMask(mask, length) {
  const { qLen, qStart, batch, heads, b, h, view, cell, layers } = DEFAULTS;
  return { mask, length, qLen, qStart, batch, heads, b, h, view, cell, layers };
}

/** Create a place for messages, empty and hidden. */
export function makeNotice() {
  const out = make("div", "notice");
  out.setAttribute("role", "alert");
  out.hidden = true;
  return out;
}

/**
 * Show an error in a notice, or hide the notice where there is none. An error that asks for a shorter length gets a
 * button that sets one.
 * @param {App} app
 * @param {HTMLElement} notice
 * @param {unknown} error
 * @param {number} [length] the one offered
 */
export function showError(app, notice, error, length = 32) {
  const text = error instanceof Error ? error.message : String(error ?? "");
  notice.className = text.includes("\n") ? "notice caret" : "notice";
  notice.hidden = !error;
  notice.replaceChildren(text);
  if (/shorten the length|shorter length/i.test(text)) {
    const shorter = makeButton(`Set length ${length}`, () =>
      app.state.set({ length, qLen: null, qStart: null, view: null, cell: null }),
    );
    notice.append(make("div", "", shorter));
  }
}

/**
 * Show in a notice what the page waits for.
 * @param {HTMLElement} notice
 * @param {string} text
 */
export function showWaiting(notice, text) {
  notice.className = "notice waiting";
  notice.hidden = false;
  notice.replaceChildren(text);
}

/**
 * Create a small square in the colour, and with the pattern, of a kind of cell.
 * @param {"all"|"none"|"left"|"right"|import("../matrix/paint.js").Rgb} kind
 */
export function makeSwatch(kind) {
  const out = make("i", "swatch");
  const { stripe, dot, ...colours } = palette();
  const pattern = {
    left: `repeating-linear-gradient(135deg, ${css(stripe)} 0 1.2px, transparent 1.2px 4.2px)`,
    right: `radial-gradient(${css(dot)} 1.1px, transparent 1.4px) 0 0 / 5px 5px`,
  }[String(kind)];
  out.style.background = `${pattern ?? ""} ${css(typeof kind === "string" ? colours[kind] : kind)}`;
  return out;
}
