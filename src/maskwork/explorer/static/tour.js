// A short tour for who comes first: leak, mask, softmax, decoding. Each step sets what it speaks of.
// @ts-check

import { button, fresh, made } from "./panels/parts.js";

/** @typedef {import("./state.js").State} State */

const SEEN = "maskwork-tour";
const MASK = "causal & (sliding_window(6) | sinks(1))";

/** @type {{title: string, text: string, state: Partial<State>}[]} */
const STEPS = [
  {
    title: "A leak",
    text:
      "Each row is a query, each column a key; a row's label is the next token. With no mask every query sees every " +
      "key, its own label too: a model trained so copies it, and learns nothing.",
    state: { ...fresh("full", 16), panel: "play" },
  },
  {
    title: "A mask",
    text:
      "causal lets a query see itself and what came before. Now no row sees its label. Write any mask in the box " +
      "above; & is and, | is or, - takes away.",
    state: { ...fresh("causal", 16), panel: "play" },
  },
  {
    title: "Why?",
    text:
      "Point at any cell to ask why it is allowed, or what blocks it. Here query 9 may not see key 2: it has " +
      "left the window, and it is no sink.",
    state: { ...fresh(MASK, 16), cell: { q: 9, k: 2 }, panel: "why" },
  },
  {
    title: "Softmax",
    text:
      "A mask acts on scores, before they become weights. Masked with −1, forbidden keys keep weight: it leaks. " +
      "Choose −∞ and watch their weight turn to 0.",
    state: { ...fresh(MASK, 16), cell: { q: 9, k: 2 }, panel: "softmax", p: { softmax: { fill: "-1", row: "9" } } },
  },
  {
    title: "Decoding",
    text:
      "Training computes all rows at once; decoding one at a time, from a cache. The mask says when a key is seen " +
      "for the last time: after that the cache may drop it. Press Play.",
    state: { ...fresh(MASK, 16), panel: "play", p: { play: { step: "10" } } },
  },
  {
    title: "At any length",
    text:
      "131,072 tokens, every pixel an exact count. Zoom with the wheel or + and −, down to one cell. The address " +
      "says all of what you see: copy it to show it to others.",
    state: { ...fresh("causal & (sliding_window(4096) | sinks(4))", 1 << 17), panel: "cost" },
  },
];

/** @type {(() => void)|null} */
let close = null;

/** @param {import("./main.js").App} app */
export function startTour(app) {
  close?.();
  const before = document.activeElement;
  const heading = made("h2");
  heading.id = "tour-title";
  const text = made("p");
  text.id = "tour-text";
  const count = made("span", "hint");
  const back = button("Back", () => go(at - 1));
  const next = button("Next", () => (at === STEPS.length - 1 ? end() : go(at + 1)), "main");
  const leave = button("Close", () => end(), "quiet");
  const dialog = made("div", "tour", heading, text, made("div", "tour-foot", count, leave, back, next));
  dialog.setAttribute("role", "dialog");
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.setAttribute("aria-describedby", text.id);
  let at = 0;
  let timer = 0;

  /** @param {number} to */
  function go(to) {
    at = to;
    const step = STEPS[at];
    heading.textContent = step.title;
    text.textContent = step.text;
    count.textContent = `${at + 1} of ${STEPS.length}`;
    back.disabled = at === 0;
    next.textContent = at === STEPS.length - 1 ? "Done" : "Next";
    app.state.set(step.state);
    app.announce(`${step.title}. ${step.text}`);
    next.focus({ preventScroll: true });
    clearTimeout(timer);
    timer = window.setTimeout(() => look(step.state.panel !== "cost"), 350);
  }
  /** Where the page is one column, scroll to what the step speaks of. @param {boolean} below */
  function look(below) {
    document.querySelector(below ? ".side" : ".stage")?.scrollIntoView({ block: "start" });
  }
  function end() {
    dialog.remove();
    close = null;
    if (before instanceof HTMLElement && before.isConnected) before.focus();
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end();
    else if (event.key === "ArrowRight" && at < STEPS.length - 1) go(at + 1);
    else if (event.key === "ArrowLeft" && at > 0) go(at - 1);
    else return;
    event.stopPropagation();
  });
  close = () => dialog.remove();
  document.body.append(dialog);
  go(0);
}

/** The tour begins by itself once: not where a link says what to show, nor inside a notebook.
 * @param {import("./main.js").App} app */
export function greet(app) {
  if (location.search || window.top !== window) return;
  try {
    if (localStorage.getItem(SEEN)) return;
    localStorage.setItem(SEEN, "1");
  } catch {
    return; // a browser that keeps nothing would show it every time
  }
  startTour(app);
}
