// Training and decoding under one mask: all rows at once, beside one row at a time with a cache of keys and values.
// @ts-check

import { decode, labels, seesAhead } from "./decoding.js";
import { css, palette } from "../matrix/paint.js";
import { button, cellsOf, follow, GRID, made, noticePlace, percent, table, whole } from "./parts.js";

/** @typedef {import("./parts.js").Cells} Cells */

const PACE = 450; // ms a step
const SIDE = 200; // CSS pixels of a drawing

/** A canvas for drawing in CSS pixels, sharp on any screen. @param {HTMLCanvasElement} canvas @param {number} wide
 * @param {number} high */
function sharp(canvas, wide, high) {
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * dpr);
  canvas.height = Math.round(high * dpr);
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(dpr, dpr);
  return context;
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size
 * @param {string} ink */
function hatch(context, x, y, size, ink) {
  context.save();
  context.beginPath();
  context.rect(x, y, size, size);
  context.clip();
  context.beginPath();
  for (let at = -size; at < size; at += 3) {
    context.moveTo(x + at, y + size);
    context.lineTo(x + at + size, y);
  }
  context.strokeStyle = ink;
  context.lineWidth = 0.8;
  context.stroke();
  context.restore();
}

export const panel = {
  id: "play",
  title: "Train & decode",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const notice = noticePlace();
    const [training, decoding, cache] = [made("canvas"), made("canvas"), made("canvas", "cache")];
    for (const canvas of [training, decoding, cache]) canvas.setAttribute("role", "img");
    const [trained, decoded, cached, ahead] = [
      made("p", "hint"),
      made("p", "hint"),
      made("p", "hint"),
      made("p", "verdict no"),
    ];
    const counters = made("div");
    const slider = made("input");
    Object.assign(slider, { type: "range", min: "0", step: "1" });
    slider.setAttribute("aria-label", "Step of decoding");
    const play = button("Play", () => (timer ? pause() : start()), "main");
    const controls = made(
      "div",
      "transport",
      button("First", () => go(0)),
      button("‹ Back", () => go(step() - 1)),
      play,
      button("Next ›", () => go(step() + 1)),
      slider,
    );
    const body = made(
      "div",
      "",
      made(
        "div",
        "pair",
        made("section", "", made("h3", "", "Training: all rows at once"), training, trained),
        made("section", "", made("h3", "", "Decoding: one row at a time"), decoding, decoded),
      ),
      controls,
      ahead,
      made("h3", "", "Cache of keys and values"),
      cache,
      cached,
      counters,
    );
    root.append(made("h2", "", "Training and decoding"), notice, body);

    /** @type {Cells|null} */
    let cells = null;
    let timer = 0;

    const last = () => (cells?.rows.length ?? 1) - 1;
    const step = () => Math.min(Math.max(0, Math.floor(Number(app.state.get().p.play?.step)) || 0), last());

    /** @param {number} to */
    function go(to) {
      app.state.remember("play", { step: String(Math.min(Math.max(0, to), last())) });
    }
    function pause() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
    }
    function start() {
      if (step() === last()) go(0);
      play.textContent = "Pause";
      timer = window.setInterval(() => {
        if (app.state.get().panel !== "play" || step() === last()) pause();
        else go(step() + 1);
      }, PACE);
    }
    slider.addEventListener("input", () => go(Number(slider.value)));

    const inks = () => {
      const style = getComputedStyle(root);
      /** @param {string} name */
      const of = (name) => style.getPropertyValue(name).trim();
      return {
        all: css(palette().all),
        none: css(palette().none),
        line: of("--line"),
        muted: of("--muted"),
        mark: of("--mark"),
      };
    };

    /** @param {CanvasRenderingContext2D} context @param {string[]} rows @param {number} size
     * @param {(row: number, key: number) => number} strength of the colour, 0 to 1 */
    function drawCells(context, rows, size, strength) {
      const { all, none, line } = inks();
      const [wide, high] = [rows[0].length * size, rows.length * size];
      context.fillStyle = none;
      context.fillRect(0, 0, wide, high);
      context.fillStyle = all;
      rows.forEach((row, at) =>
        [...row].forEach((cell, key) => {
          if (cell === "0") return;
          context.globalAlpha = strength(at, key);
          context.fillRect(key * size, at * size, size - (size > 4 ? 1 : 0), size - (size > 4 ? 1 : 0));
        }),
      );
      context.globalAlpha = 1;
      context.strokeStyle = line;
      context.strokeRect(0.5, 0.5, wide - 1, high - 1);
    }

    /** @param {Cells} found */
    function drawTraining(found) {
      const { rows } = found;
      const size = Math.max(2, Math.floor(SIDE / Math.max(rows.length, rows[0].length)));
      const [wide, high] = [rows[0].length * size, rows.length * size];
      const context = sharp(training, wide + 18, high);
      drawCells(context, rows, size, () => 1);
      const { mark, muted, all } = inks();
      const kinds = labels(found);
      const radius = Math.max(1, Math.min(4, size / 2 - 0.5));
      kinds.forEach((kind, at) => {
        context.beginPath();
        context.arc(wide + 10, (at + 0.5) * size, radius, 0, 2 * Math.PI);
        context.fillStyle = kind === "leak" ? mark : all;
        context.strokeStyle = muted;
        context.lineWidth = 1;
        if (kind === "none") context.stroke();
        else if (kind === "leak")
          context.fillRect(wide + 10 - radius, (at + 0.5) * size - radius, 2 * radius, 2 * radius);
        else context.fill();
      });
      const leaks = kinds.filter((kind) => kind === "leak").length;
      const scored = kinds.filter((kind) => kind !== "none").length;
      const pairs = rows.reduce((sum, row) => sum + row.replaceAll("0", "").length, 0);
      const text =
        `${whole(pairs)} pairs in one pass. ● ${scored} of ${kinds.length} labels are scored; ` +
        `○ the last of ${found.documents ? "a document" : "the row"} has no next token.`;
      const bad = leaks
        ? ` ■ ${leaks} ${leaks === 1 ? "row sees its" : "rows see their"} own label: nothing is learnt by copying it.`
        : "";
      trained.replaceChildren(text, made("b", "bad", bad));
      training.setAttribute("aria-label", text + bad);
    }

    /** @param {Cells} found @param {number} at */
    function drawDecoding(found, at) {
      const { rows, q_start: first } = found;
      const size = Math.max(2, Math.floor(SIDE / Math.max(rows.length, rows[0].length)));
      const context = sharp(decoding, rows[0].length * size, rows.length * size);
      drawCells(context, rows, size, (row, key) => (row > at || key > first + row ? 0 : row === at ? 1 : 0.35));
      context.strokeStyle = inks().mark;
      context.lineWidth = 2;
      context.strokeRect(1, at * size, rows[0].length * size - 2, size);
      const text = `Query ${first + at} reads ${seen(rows[at], first + at)} of ${first + at + 1} keys.`;
      decoded.textContent = text;
      decoding.setAttribute("aria-label", text);
    }

    /** @param {string} row @param {number} time */
    const seen = (row, time) => row.slice(0, time + 1).replaceAll("0", "").length;

    /** @param {Cells} found @param {number} at */
    function drawCache(found, at) {
      const { rows, q_start: first, last_seen: ends } = found;
      const time = first + at;
      const room = Math.min(body.clientWidth || 440, 480);
      const lines = Math.ceil((ends.length * 13) / room);
      const across = Math.ceil(ends.length / lines);
      const size = Math.max(5, Math.min(20, Math.floor(room / across)));
      const context = sharp(cache, across * size + 1, lines * (size + 3) + 1);
      const { all, line, muted, mark } = inks();
      ends.forEach((end, key) => {
        const [x, y] = [(key % across) * size + 1, Math.floor(key / across) * (size + 3) + 1];
        const box = size - 2;
        context.strokeStyle = line;
        context.lineWidth = 1;
        if (key <= time && end >= time) {
          context.fillStyle = all;
          context.fillRect(x, y, box, box);
        } else if (key <= time) {
          hatch(context, x, y, box, muted);
          context.strokeRect(x + 0.5, y + 0.5, box - 1, box - 1);
        } else {
          context.strokeRect(x + 0.5, y + 0.5, box - 1, box - 1);
        }
        if (key <= time && rows[at][key] === "1") {
          context.strokeStyle = mark;
          context.lineWidth = 2;
          context.strokeRect(x, y, box, box);
        }
      });
      const kept = ends.filter((end, key) => key <= time && end >= time).length;
      const gone = Math.min(time + 1, ends.length) - kept;
      const text = `${kept} held, ${gone} evicted (hatched: no later query sees them), outlined: read in this step.`;
      cached.textContent = text;
      cache.setAttribute("aria-label", text);
    }

    /** @param {Cells} found @param {number} at */
    function showCounters(found, at) {
      const steps = decode(found);
      const now = steps[at];
      /** @param {number} a @param {number} b */
      const share = (a, b) => (b ? percent(a / b) : "–");
      counters.replaceChildren(
        table(
          ["", "this step", "so far", "to the end"],
          [
            ["pairs without a cache", whole(now.fresh), whole(now.freshSum), whole(steps[last()].freshSum)],
            ["pairs with a cache", whole(now.cached), whole(now.cachedSum), whole(steps[last()].cachedSum)],
            [
              "share with the cache",
              share(now.cached, now.fresh),
              share(now.cachedSum, now.freshSum),
              share(steps[last()].cachedSum, steps[last()].freshSum),
            ],
            ["cache entries, all kept", whole(now.held), whole(now.held), whole(steps[last()].held)],
            [
              "cache entries, evicting",
              ...[[now], steps.slice(0, at + 1), steps].map((some) => whole(Math.max(...some.map(({ kept }) => kept)))),
            ],
          ],
          "numbers",
        ),
        made("p", "hint", "Cache entries, so far and to the end: the most that are held at once."),
      );
    }

    function draw() {
      if (!cells || app.state.get().panel !== "play") return;
      const at = step();
      slider.max = String(last());
      slider.value = String(at);
      drawTraining(cells);
      drawDecoding(cells, at);
      drawCache(cells, at);
      showCounters(cells, at);
      ahead.hidden = !seesAhead(cells);
      ahead.textContent =
        "⚠ Some queries see later keys. In decoding those do not exist yet: training and decoding differ.";
    }

    app.state.on(["p"], draw);
    app.onTheme(draw);
    new ResizeObserver(draw).observe(root);
    follow(app, "play", GRID, {
      notice,
      body,
      // without a cache the first queries are computed again too, also where the grid shows only the last ones
      ask: (signal) => cellsOf(app, signal, "Training and decoding are shown", true),
      show(found) {
        cells = found;
        draw();
      },
    });
  },
};
