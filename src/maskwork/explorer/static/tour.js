// A short tour for new users: leak, mask, softmax, decoding. Each step sets the page to what its text describes.
// @ts-check

import { loadMask, make, makeButton } from "./panels/parts.js";

/** @typedef {import("./main.js").App} App */
/** @typedef {import("./state.js").State} State */
/** @typedef {{title: string, text: string, state: Partial<State>}} Step */

const SEEN = "maskwork-tour";
const SCROLL_AFTER = 350; // ms: the page is laid out by then
const MASK = "causal & (sliding_window(6) | sinks(1))";

/** @type {Step[]} */
const STEPS = [
  {
    title: "A leak",
    text:
      "Each row is a query, each column a key; the label of a row is the next token. Without a mask every query sees " +
      "every key, its own label too: the model learns to copy the label, and nothing else.",
    state: { ...loadMask("full", 16), panel: "play" },
  },
  {
    title: "A mask",
    text:
      "causal lets a query see itself and what came before. Now no row sees its label. Write any mask in the box " +
      "above; & is and, | is or, - subtracts.",
    state: { ...loadMask("causal", 16), panel: "play" },
  },
  {
    title: "Why?",
    text:
      "Point at any cell to see why it is allowed, or what blocks it. Here query 9 may not see key 2: the key is " +
      "outside the window, and it is not a sink.",
    state: { ...loadMask(MASK, 16), cell: { q: 9, k: 2 }, panel: "why" },
  },
  {
    title: "Softmax",
    text:
      "A mask changes scores, before they become weights. If −1 is added to masked scores, forbidden keys still get " +
      "weight: a leak. Choose −∞, and their weight becomes 0.",
    state: { ...loadMask(MASK, 16), cell: { q: 9, k: 2 }, panel: "softmax", p: { softmax: { fill: "-1", row: "9" } } },
  },
  {
    title: "Decoding",
    text:
      "Training computes all rows at once; decoding one at a time, from a cache. The mask tells when a key is seen " +
      "for the last time: after that the cache may drop the key. Press Play.",
    state: { ...loadMask(MASK, 16), panel: "play", p: { play: { step: "10" } } },
  },
  {
    title: "At any length",
    text:
      "131,072 tokens, and every pixel is an exact count. Zoom with the wheel or + and −, down to one cell. The " +
      "address holds all that you see: copy it to share it.",
    state: { ...loadMask("causal & (sliding_window(4096) | sinks(4))", 1 << 17), panel: "cost" },
  },
];

/** Remove the dialog that is open. @type {(() => void)|null} */
let close = null;

/**
 * Where the page is one column, scroll to what the step describes.
 * @param {boolean} panel to the panel, not the matrix
 */
function scrollToStep(panel) {
  document.querySelector(panel ? ".side" : ".stage")?.scrollIntoView({ block: "start" });
}

/** @param {{heading: HTMLElement, text: HTMLElement, content: HTMLElement[]}} parts */
function makeDialog({ heading, text, content }) {
  heading.id = "tour-title";
  text.id = "tour-text";
  const dialog = make("div", "tour", heading, text, make("div", "tour-foot", ...content));
  dialog.setAttribute("role", "dialog");
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.setAttribute("aria-describedby", text.id);
  return dialog;
}

/**
 * Open the tour at its first step.
 * @param {App} app
 */
export function startTour(app) {
  close?.();
  const focusedBefore = document.activeElement;
  const [heading, text, count] = [make("h2"), make("p"), make("span", "hint")];
  const back = makeButton("Back", () => go(current - 1));
  const next = makeButton("Next", () => (current === STEPS.length - 1 ? end() : go(current + 1)), "main");
  const dialog = makeDialog({ heading, text, content: [count, makeButton("Close", () => end(), "quiet"), back, next] });
  let current = 0;
  let timer = 0;

  /** @param {number} index */
  function go(index) {
    current = index;
    const step = STEPS[index];
    heading.textContent = step.title;
    text.textContent = step.text;
    count.textContent = `${index + 1} of ${STEPS.length}`;
    back.disabled = index === 0;
    next.textContent = index === STEPS.length - 1 ? "Done" : "Next";
    app.state.set(step.state);
    app.announce(`${step.title}. ${step.text}`);
    next.focus({ preventScroll: true });
    clearTimeout(timer);
    timer = window.setTimeout(() => scrollToStep(step.state.panel !== "cost"), SCROLL_AFTER);
  }
  function end() {
    dialog.remove();
    close = null;
    if (focusedBefore instanceof HTMLElement && focusedBefore.isConnected) focusedBefore.focus();
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end();
    else if (event.key === "ArrowRight" && current < STEPS.length - 1) go(current + 1);
    else if (event.key === "ArrowLeft" && current > 0) go(current - 1);
    else return;
    event.stopPropagation();
  });
  close = () => dialog.remove();
  document.body.append(dialog);
  go(0);
}

/**
 * Open the tour on the first visit, but neither where a link sets what is shown nor inside a notebook.
 * @param {App} app
 */
export function showTourOnce(app) {
  if (location.search || window.top !== window) return;
  try {
    if (localStorage.getItem(SEEN)) return;
    localStorage.setItem(SEEN, "1");
  } catch {
    return; // a browser that stores nothing would show the tour on every visit
  }
  startTour(app);
}
