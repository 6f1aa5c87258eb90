// Sliders for the numbers in the mask's text: a moved slider writes its number into the text.
// @ts-check

import { make, makeNotice, makeNumberField, showError } from "./panels/parts.js";
import { ranges } from "./ranges.js";

/** @typedef {import("./main.js").App} App */
/**
 * @typedef {object} NumberInText
 * @property {string} name  of the atom, and of the argument where the atom has several
 * @property {number} start  of the number in the text
 * @property {number} end
 * @property {number} value
 */

/** Names of the arguments of atoms that take several numbers. @type {Record<string, string[]>} */
const ARGUMENTS = {
  band: ["left", "right"],
  dilated: ["hops", "rate"],
  random_blocks: ["per row", "block size", "blocks", "seed"],
};
/** Atoms whose numbers begin at 1. */
const POSITIVE = /^(sliding_window|chunked|dilated|random_blocks)/;

/**
 * Return the numbers of a mask's text that are arguments by themselves. Numbers in lists are left to the text.
 * @param {string} text
 * @returns {NumberInText[]}
 */
export function numbersIn(text) {
  /** @type {NumberInText[]} */
  const numbers = [];
  let name = "";
  let count = 0; // numbers after the name
  for (const { 0: token, index } of text.matchAll(/\[[^\]]*\]|[A-Za-z_]\w*|(?<=[(,=]\s*)-\d+|\d+/g)) {
    if (/^-?\d/.test(token)) {
      const argument = ARGUMENTS[name]?.[count++];
      const label = argument ? `${name} ${argument}` : name;
      numbers.push({ name: label, start: index, end: index + token.length, value: Number(token) });
    } else if (token[0] !== "[") {
      [name, count] = [token, 0];
    }
  }
  return numbers;
}

/**
 * Create the writer of masks into the state. The server checks a mask first; of those that come meanwhile, the last
 * is checked next.
 * @param {App} app
 * @param {HTMLElement} notice for errors
 */
function createMaskWriter(app, notice) {
  let busy = false;
  /** @type {string|null} */
  let next = null;
  return {
    /** Return the mask that will be the state's. */
    latest: () => next ?? app.state.get().mask,
    /** @param {string} text */
    async write(text) {
      next = text;
      if (busy) return;
      busy = true;
      while (next !== null) {
        const mask = next;
        next = null;
        try {
          await app.ask("describe", { ...app.grid(), mask });
          showError(app, notice, null);
          app.state.set({ mask }, { replace: true });
        } catch (error) {
          showError(app, notice, error);
        }
      }
      busy = false;
    },
  };
}

/**
 * Create a line of a slider and a field for one number.
 * @param {string} name
 * @param {(value: number) => void} act
 */
function makeLine(name, act) {
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "0", step: "1" });
  slider.setAttribute("aria-label", `${name}, slider`);
  slider.addEventListener("input", () => act(Number(slider.value)));
  const { high } = ranges.length;
  const field = makeNumberField({ low: -high, high, value: 0, act });
  return make("div", "slider", make("label", "", make("code", "", name), field), slider);
}

/**
 * Show a number in its line.
 * @param {Element} line
 * @param {NumberInText} number
 * @param {number} length of the mask: as far as the slider goes
 */
function updateLine(line, { name, value }, length) {
  const [field, slider] = /** @type {NodeListOf<HTMLInputElement>} */ (line.querySelectorAll("input"));
  slider.max = String(Math.max(length, value));
  slider.min = String(Math.min(POSITIVE.test(name) ? 1 : 0, value));
  for (const input of [field, slider]) if (document.activeElement !== input) input.value = String(value);
}

/**
 * Create the sliders of the state's mask.
 * @param {App} app
 * @param {HTMLElement} root
 */
export function createSliders(app, root) {
  const lines = make("div");
  const none = make("p", "hint", "The mask has no number outside a list.");
  const notice = makeNotice();
  root.append(make("h3", "", "Numbers of this mask"), none, lines, notice);
  const writer = createMaskWriter(app, notice);
  let shownNames = "";

  /** @param {number} index @param {number} value */
  function setNumber(index, value) {
    const text = writer.latest();
    const number = numbersIn(text)[index];
    if (number) void writer.write(text.slice(0, number.start) + value + text.slice(number.end));
  }

  function show() {
    const { mask, length } = app.state.get();
    const numbers = numbersIn(mask);
    const names = numbers.map(({ name }) => name).join();
    if (names !== shownNames) {
      shownNames = names;
      lines.replaceChildren(...numbers.map(({ name }, index) => makeLine(name, (value) => setNumber(index, value))));
    }
    none.hidden = numbers.length > 0;
    numbers.forEach((number, index) => updateLine(lines.children[index], number, length));
  }
  app.state.on(["mask", "length"], show);
  show();
}
