// Training and decoding under one mask: all rows at once, beside one row at a time with a cache of keys and values.
// @ts-check

import { seesAhead } from "./decoding.js";
import { fetchCells, follow, GRID } from "./follow.js";
import { make, makeButton, makeNotice } from "./parts.js";
import { drawCache, drawDecoding, drawTraining, inksOf, makeCounters, makeCountersHint } from "./play-drawings.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("./follow.js").Cells} Cells */

const PACE = 450; // ms per step
const WIDTH = 440; // CSS pixels of the panel, before it is laid out

const AHEAD = "⚠ Some queries see later keys. In decoding those do not exist yet: training and decoding differ.";

/** Create the elements of the panel. */
function makeElements() {
  const [training, decoding, cache] = [make("canvas"), make("canvas"), make("canvas", "cache")];
  for (const canvas of [training, decoding, cache]) canvas.setAttribute("role", "img");
  const [trainingText, decodingText, cacheText] = [make("p", "hint"), make("p", "hint"), make("p", "hint")];
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "0", step: "1" });
  slider.setAttribute("aria-label", "Step of decoding");
  const [transport, counters, ahead] = [make("div", "transport"), make("div"), make("p", "verdict no", AHEAD)];
  const body = make("div", "",
    make("div", "pair",
      make("section", "", make("h3", "", "Training: all rows at once"), training, trainingText),
      make("section", "", make("h3", "", "Decoding: one row at a time"), decoding, decodingText)),
    transport, ahead, make("h3", "", "Cache of keys and values"), cache, cacheText, counters);
  return { training, decoding, cache, trainingText, decodingText, cacheText, slider, transport, counters, ahead, body };
}

/**
 * Draw cells at a step of decoding.
 * @param {ReturnType<typeof makeElements>} elements
 * @param {Cells} cells
 * @param {number} step
 */
function drawAll(elements, cells, step) {
  const { training, decoding, cache, trainingText, decodingText, cacheText, slider, counters, ahead, body } = elements;
  const inks = inksOf(body);
  slider.max = String(cells.rows.length - 1);
  slider.value = String(step);
  const { text, warning } = drawTraining(training, cells, inks);
  trainingText.replaceChildren(text, make("b", "bad", warning));
  training.setAttribute("aria-label", text + warning);
  decodingText.textContent = drawDecoding(decoding, cells, step, inks);
  decoding.setAttribute("aria-label", decodingText.textContent);
  cacheText.textContent = drawCache(cache, cells, step, { inks, room: body.clientWidth || WIDTH });
  cache.setAttribute("aria-label", cacheText.textContent);
  counters.replaceChildren(makeCounters(cells, step), makeCountersHint());
  ahead.hidden = !seesAhead(cells);
}

/**
 * Fill the line of buttons that go from step to step.
 * @param {ReturnType<typeof makeElements>} elements
 * @param {{step: () => number, last: () => number, go: (step: number) => void, open: () => boolean}} options
 */
function fillTransport({ transport, slider }, { step, last, go, open }) {
  let timer = 0;
  const play = makeButton("Play", () => (timer ? pause() : start()), "main");

  function pause() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }
  function start() {
    if (step() === last()) go(0);
    play.textContent = "Pause";
    timer = window.setInterval(() => {
      if (!open() || step() === last()) pause();
      else go(step() + 1);
    }, PACE);
  }
  slider.addEventListener("input", () => go(Number(slider.value)));
  transport.append(
    makeButton("First", () => go(0)),
    makeButton("‹ Back", () => go(step() - 1)),
    play,
    makeButton("Next ›", () => go(step() + 1)),
    slider,
  );
}

export const panel = {
  id: "play",
  title: "Train & decode",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const elements = makeElements();
    const { body } = elements;
    root.append(make("h2", "", "Training and decoding"), notice, body);
    /** @type {Cells|null} */
    let cells = null;

    const open = () => app.state.get().panel === "play";
    const last = () => (cells?.rows.length ?? 1) - 1;
    const step = () => Math.min(Math.max(0, Math.floor(Number(app.state.get().p.play?.step)) || 0), last());
    /** @param {number} to */
    const go = (to) => app.state.remember("play", { step: String(Math.min(Math.max(0, to), last())) });
    fillTransport(elements, { step, last, go, open });

    function draw() {
      if (cells && open()) drawAll(elements, cells, step());
    }
    app.state.on(["p"], draw);
    app.onTheme(draw);
    new ResizeObserver(draw).observe(root);
    follow(app, "play", GRID, {
      notice,
      body,
      // without a cache the first queries are computed again too, also where the grid shows only the last ones
      ask: (signal) => fetchCells(app, signal, true),
      show(answer) {
        cells = answer;
        draw();
      },
    });
  },
};
