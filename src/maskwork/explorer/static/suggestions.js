// The list of names that complete the word before the cursor of the expression box.
// @ts-check

import { make } from "./panels/parts.js";

/** @typedef {{name: string, group: string, mask: string, length: number, used: string}} Pattern */

const MAX_OPTIONS = 8;

/**
 * Stretch a sample to another length: a list that fills the sample's own length, such as one of documents, is scaled.
 * @param {string} sample
 * @param {number} from the sample's length
 * @param {number} to
 */
export function scaleSample(sample, from, to) {
  return sample.replace(/\[(\d+(?:, \d+)*)\]/g, (list, numbers) => {
    const edges = [0];
    for (const length of numbers.split(", ")) edges.push(edges[edges.length - 1] + Number(length));
    if (edges[edges.length - 1] !== from || to < edges.length) return list;
    const [, ...ends] = edges.map((edge) => Math.round((edge / from) * to));
    return `[${ends.map((end, index) => end - (ends[index - 1] ?? 0)).join(", ")}]`;
  });
}

/** @param {HTMLTextAreaElement} box */
const wordBeforeCursor = (box) => /[A-Za-z_]\w*$/.exec(box.value.slice(0, box.selectionStart))?.[0] ?? "";

/** @param {string} mask @param {string} note @param {number} index @param {() => void} act */
function makeOption(mask, note, index, act) {
  const option = make("div", "", make("code", "", mask), make("span", "", note));
  option.role = "option";
  option.id = `suggestion-${index}`;
  option.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // the box keeps the focus
    act();
  });
  return option;
}

/**
 * Put a mask in place of the word before the cursor, and select its first number, which is likely changed next.
 * @param {HTMLTextAreaElement} box
 * @param {string} mask
 */
function complete(box, mask) {
  const end = box.selectionStart;
  const start = end - wordBeforeCursor(box).length;
  box.setRangeText(mask, start, end, "end");
  const number = /\d+/.exec(mask);
  if (number) box.setSelectionRange(start + number.index, start + number.index + number[0].length);
}

/**
 * Create the list of suggestions under the expression box.
 * @param {HTMLTextAreaElement} box
 * @param {HTMLElement} list
 * @param {{atoms: () => Pattern[], length: () => number, onClose: () => void, onComplete: () => void}} options
 *   atoms: what can be completed; length: the state's
 */
export function createSuggestions(box, list, { atoms, length, onClose, onComplete }) {
  let chosen = -1;

  function close() {
    list.hidden = true;
    box.removeAttribute("aria-activedescendant");
    onClose();
  }

  /** @param {string} mask */
  function take(mask) {
    complete(box, mask);
    close();
    onComplete();
  }

  /** @param {number} step */
  function choose(step) {
    const options = [...list.children];
    chosen = (chosen + step + options.length) % options.length;
    options.forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)));
    box.setAttribute("aria-activedescendant", `suggestion-${chosen}`);
  }

  return {
    close,
    /** Show the names that begin with the word before the cursor. */
    update() {
      const word = wordBeforeCursor(box);
      const matches = word ? atoms().filter(({ name }) => name.startsWith(word) && name !== word) : [];
      chosen = -1;
      box.removeAttribute("aria-activedescendant");
      list.hidden = matches.length === 0;
      if (list.hidden) close();
      list.replaceChildren(...matches.slice(0, MAX_OPTIONS).map((pattern, index) => {
        const mask = scaleSample(pattern.mask, pattern.length, length());
        return makeOption(mask, pattern.used, index, () => take(mask));
      }));
      const { left, bottom } = box.getBoundingClientRect();
      list.style.left = `${left}px`;
      list.style.top = `${bottom + 4}px`;
    },
    /**
     * Handle a key if the list is open and the key belongs to it.
     * @param {KeyboardEvent} event
     * @returns {boolean} whether it did
     */
    handleKey(event) {
      if (list.hidden) return false;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        choose(event.key === "ArrowDown" ? 1 : -1);
        return true;
      }
      if ((event.key === "Tab" || event.key === "Enter") && chosen >= 0) {
        event.preventDefault();
        take(list.children[chosen].querySelector("code")?.textContent ?? "");
        return true;
      }
      return false;
    },
  };
}
