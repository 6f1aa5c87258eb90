// Patterns: every atom and recipe as a small exact picture, with the models that use it; one click loads it.
// @ts-check

import { formatInteger } from "../format.js";
import { contextOf, palette, ramp } from "../matrix/paint.js";
import { createSliders } from "../sliders.js";
import { follow } from "./follow.js";
import { loadMask, make, makeNotice } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../suggestions.js").Pattern} Pattern */

const SIDE = 64; // most pixels along a side: a longer mask is counted, never sampled
const LOAD_MARGIN = "150px"; // round the visible part of the panel

/** @param {HTMLCanvasElement} canvas @param {import("../api.js").Counts} counts @param {number} length
 * @param {number} step */
function paint(canvas, counts, length, step) {
  const side = Math.ceil(length / step);
  /** @param {number} index */
  const cellsUnder = (index) => Math.min(step, length - index * step);
  canvas.width = canvas.height = side;
  const context = contextOf(canvas);
  const image = context.createImageData(side, side);
  const colours = palette();
  counts.forEach((count, index) => {
    const cells = cellsUnder(Math.floor(index / side)) * cellsUnder(index % side);
    image.data.set([...ramp(count, cells, colours), 255], index * 4);
  });
  context.putImageData(image, 0, 0);
}

/**
 * Create the pictures of patterns. A picture is asked for when its canvas comes near the visible part.
 * @param {App} app
 */
function createPictures(app) {
  /** @type {Map<Element, () => Promise<void>>} */
  const waiting = new Map();
  /** @type {(() => void)[]} */
  const painters = [];
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const load = waiting.get(target);
        if (!isIntersecting || !load) continue;
        waiting.delete(target);
        observer.unobserve(target);
        load().catch((error) => app.announce(String(error.message)));
      }
    },
    { rootMargin: LOAD_MARGIN },
  );
  app.onTheme(() => painters.forEach((draw) => draw()));
  return {
    /** @param {HTMLCanvasElement} canvas @param {Pattern} pattern */
    add(canvas, { mask, length }) {
      waiting.set(canvas, async () => {
        const step = Math.ceil(length / SIDE);
        const side = Math.ceil(length / step);
        const [counts] = await app.askTile({ mask, length, step, rows: side, columns: side });
        const draw = () => paint(canvas, counts, length, step);
        draw();
        painters.push(draw);
      });
      observer.observe(canvas);
    },
  };
}

/** @param {App} app @param {ReturnType<typeof createPictures>} pictures @param {Pattern} pattern */
function makeCard(app, pictures, pattern) {
  const { name, mask, length, used } = pattern;
  const canvas = make("canvas");
  canvas.setAttribute("aria-hidden", "true");
  const text = make("span", "", make("b", "", name), make("code", "", mask), make("small", "", used));
  const card = make("button", "card", canvas, text);
  card.type = "button";
  card.dataset.mask = mask;
  card.title = `${mask}, length ${formatInteger(length)}`;
  card.addEventListener("click", () => {
    app.state.set(loadMask(mask, length));
    app.announce(`${name} loaded`);
  });
  pictures.add(canvas, pattern);
  return card;
}

export const panel = {
  id: "patterns",
  title: "Patterns",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const body = make("div");
    const sliders = make("div", "sliders");
    root.append(make("h2", "", "Masks in use"), sliders, notice, body);
    createSliders(app, sliders);
    const pictures = createPictures(app);

    /** @type {Promise<{patterns: Pattern[]}>|null} */
    let gallery = null;
    follow(app, "patterns", ["mask"], {
      notice,
      ask: () => (gallery ??= app.ask("patterns", {})),
      show(/** @type {{patterns: Pattern[]}} */ { patterns }) {
        if (!body.children.length) {
          for (const group of new Set(patterns.map((pattern) => pattern.group))) {
            const members = patterns.filter((pattern) => pattern.group === group);
            const cards = members.map((pattern) => makeCard(app, pictures, pattern));
            body.append(make("h3", "", group), make("div", "gallery", ...cards));
          }
        }
        const { mask } = app.state.get();
        for (const card of body.querySelectorAll("button"))
          card.setAttribute("aria-pressed", String(card.dataset.mask === mask));
      },
    });
  },
};
