// Patterns: every atom and recipe as a small exact picture, with the models that it is known from; one click loads it.
// @ts-check

import { palette, ramp } from "../matrix/paint.js";
import { follow, fresh, made, noticePlace, whole } from "./parts.js";
import { createSliders } from "../sliders.js";

/** @typedef {{name: string, group: string, mask: string, length: number, used: string}} Pattern */

const SIDE = 64; // most pixels along a side: a longer mask is counted, never sampled

/** @param {HTMLCanvasElement} canvas @param {import("../api.js").Counts} counts @param {number} length @param {number} step */
function paint(canvas, counts, length, step) {
  const side = Math.ceil(length / step);
  /** @param {number} at */
  const covered = (at) => Math.min(step, length - at * step);
  canvas.width = canvas.height = side;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(side, side);
  const colours = palette();
  counts.forEach((count, at) => {
    const cells = covered(Math.floor(at / side)) * covered(at % side);
    image.data.set([...ramp(count, cells, colours), 255], at * 4);
  });
  context.putImageData(image, 0, 0);
}

export const panel = {
  id: "patterns",
  title: "Patterns",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const notice = noticePlace();
    const body = made("div");
    const sliders = made("div", "sliders");
    root.append(made("h2", "", "Masks in use"), sliders, notice, body);
    createSliders(app, sliders);
    /** @type {Map<Element, () => Promise<void>>} */
    const waiting = new Map();
    /** @type {(() => void)[]} */
    const painted = [];
    const seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          const fetchOne = waiting.get(target);
          if (!isIntersecting || !fetchOne) continue;
          waiting.delete(target);
          seen.unobserve(target);
          fetchOne().catch((error) => app.announce(String(error.message)));
        }
      },
      { rootMargin: "150px" },
    );

    /** @param {Pattern} pattern */
    function card({ name, mask, length, used }) {
      const canvas = made("canvas");
      canvas.setAttribute("aria-hidden", "true");
      const text = made("span", "", made("b", "", name), made("code", "", mask), made("small", "", used));
      const out = made("button", "card", canvas, text);
      out.type = "button";
      out.dataset.mask = mask;
      out.title = `${mask}, length ${whole(length)}`;
      out.addEventListener("click", () => {
        app.state.set(fresh(mask, length));
        app.announce(`${name} loaded`);
      });
      waiting.set(canvas, async () => {
        const step = Math.ceil(length / SIDE);
        const side = Math.ceil(length / step);
        const [counts] = await app.askTile({ mask, length, step, rows: side, columns: side });
        const draw = () => paint(canvas, counts, length, step);
        draw();
        painted.push(draw);
      });
      seen.observe(canvas);
      return out;
    }

    function mark() {
      const { mask } = app.state.get();
      for (const one of body.querySelectorAll("button"))
        one.setAttribute("aria-pressed", String(one.dataset.mask === mask));
    }

    /** @type {Promise<{patterns: Pattern[]}>|null} */
    let gallery = null;
    follow(app, "patterns", ["mask"], {
      notice,
      ask: () => (gallery ??= app.ask("patterns", {})),
      show(/** @type {{patterns: Pattern[]}} */ { patterns }) {
        if (!body.children.length) {
          for (const group of new Set(patterns.map((pattern) => pattern.group))) {
            const cards = patterns.filter((pattern) => pattern.group === group).map(card);
            body.append(made("h3", "", group), made("div", "gallery", ...cards));
          }
        }
        mark();
      },
    });
    app.onTheme(() => painted.forEach((draw) => draw()));
  },
};
