// Sliders for the numbers of the mask: what they say is written into its text.
// @ts-check

import { made, noticePlace, numberField, refuse } from "./panels/parts.js";

/** @typedef {{name: string, at: number, end: number, value: number}} Written  name: of the atom and its argument */

/** What the numbers of an atom with several are called. @type {Record<string, string[]>} */
const ARGUMENTS = {
  band: ["left", "right"],
  dilated: ["hops", "rate"],
  random_blocks: ["per row", "block size", "blocks", "seed"],
};
const FROM_ONE = /^(sliding_window|chunked|dilated|random_blocks)/; // 0 of them is no mask

const MOST = 1 << 20;

/** The numbers of a mask's text that stand alone, each with what it is an argument of; lists are left to the text.
 * @param {string} text @returns {Written[]} */
export function numbersIn(text) {
  /** @type {Written[]} */
  const out = [];
  let name = "";
  let count = 0; // numbers since the name
  for (const { 0: token, index } of text.matchAll(/\[[^\]]*\]|[A-Za-z_]\w*|(?<=[(,=]\s*)-\d+|\d+/g)) {
    if (/^-?\d/.test(token)) {
      const argument = ARGUMENTS[name]?.[count++];
      out.push({ name: argument ? `${name} ${argument}` : name, at: index, end: index + token.length, value: Number(token) });
    } else if (token[0] !== "[") {
      [name, count] = [token, 0];
    }
  }
  return out;
}

/** @param {import("./main.js").App} app @param {HTMLElement} root */
export function createSliders(app, root) {
  const heading = made("h3", "", "Numbers of this mask");
  const lines = made("div");
  const none = made("p", "hint", "It has none that stands alone.");
  const notice = noticePlace();
  root.append(heading, none, lines, notice);
  let shape = "";
  let busy = false;
  /** @type {string|null} */
  let waiting = null;

  /** Take a mask that the server can read; of those that come while it reads one, the last. @param {string} mask */
  async function take(mask) {
    waiting = mask;
    if (busy) return;
    busy = true;
    while (waiting !== null) {
      const next = waiting;
      waiting = null;
      try {
        await app.ask("describe", { ...app.grid(), mask: next });
        refuse(app, notice, null);
        app.state.set({ mask: next }, { replace: true });
      } catch (error) {
        refuse(app, notice, error);
      }
    }
    busy = false;
  }

  /** @param {number} index @param {number} value */
  function write(index, value) {
    const text = waiting ?? app.state.get().mask;
    const number = numbersIn(text)[index];
    if (number) void take(text.slice(0, number.at) + value + text.slice(number.end));
  }

  /** @param {Written} number @param {number} index */
  function line({ name }, index) {
    const slider = made("input");
    Object.assign(slider, { type: "range", min: "0", step: "1" });
    slider.setAttribute("aria-label", `${name}, slider`);
    slider.addEventListener("input", () => write(index, Number(slider.value)));
    const field = numberField({ low: -MOST, high: MOST, value: 0, act: (value) => write(index, value) });
    return made("div", "slider", made("label", "", made("code", "", name), field), slider);
  }

  function show() {
    const { mask, length } = app.state.get();
    const found = numbersIn(mask);
    const next = found.map(({ name }) => name).join();
    if (next !== shape) {
      shape = next;
      lines.replaceChildren(...found.map(line));
    }
    none.hidden = found.length > 0;
    found.forEach(({ name, value }, index) => {
      const [field, slider] = /** @type {NodeListOf<HTMLInputElement>} */ (
        lines.children[index].querySelectorAll("input")
      );
      slider.max = String(Math.max(length, value));
      slider.min = String(Math.min(FROM_ONE.test(name) ? 1 : 0, value));
      for (const input of [field, slider]) if (document.activeElement !== input) input.value = String(value);
    });
  }
  app.state.on(["mask", "length"], show);
  show();
}
