// The matrix: tiles below, what is pointed at above, axes round it, and a map of the whole in its corner.
// @ts-check

import { drawAxis, tokens } from "./axes.js";
import { css, palette } from "./paint.js";
import { noticePlace, refuse } from "../panels/parts.js";
import { attachPointer } from "./pointer.js";
import { cut, pattern } from "./sides.js";
import { firstQuery } from "../state.js";
import { createTiles, TILE } from "./tiles.js";
import { clamped, exact, fitting, nextZoom, pixelsOf, stepOf } from "./view.js";

/** @typedef {import("../state.js").View} View */
/** @typedef {import("../state.js").Cell} Cell */

const MINI = 96;
const REST = 120; // ms
const LINES_FROM = 8; // pixels a cell, from where lines between cells help

/** @param {HTMLElement} root @param {string} name */
function canvasIn(root, name) {
  const canvas = document.createElement("canvas");
  canvas.className = name;
  root.append(canvas);
  return canvas;
}

/** @param {HTMLCanvasElement} canvas */
const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));

/** @param {import("../main.js").App} app @param {HTMLElement} root */
export function createMatrix(app, root) {
  const cells = canvasIn(root, "cells");
  const over = canvasIn(root, "over");
  const mini = canvasIn(root, "mini");
  over.tabIndex = 0;
  over.setAttribute("role", "application");
  over.setAttribute("aria-label", "Matrix of queries and keys. Arrow keys move, + and - zoom, 0 shows all, Enter pins.");
  mini.setAttribute("aria-hidden", "true");
  const trouble = noticePlace();
  /** @type {string|null} */
  let said = null;
  root.append(trouble);
  const tiles = createTiles(app, () => redraw());
  let frame = 0;
  let stale = true; // the matrix, not only what lies over it
  /** @type {import("./sides.js").Placed[]} */
  let placed = []; // the tiles that are there, and where
  let drawn = ""; // where the matrix was when it was drawn last
  let rest = 0;
  /** @type {OffscreenCanvas[]} */
  let laid = []; // patterns over two masks, one for each
  let dpr = 1;
  const area = { left: 56, top: 34, wide: 0, high: 0 }; // the matrix inside the canvas, in device pixels but left, top

  const extent = () => {
    const { qLen, length } = app.state.get();
    return { qLen: qLen ?? length, kvLen: length };
  };
  const qStart = () => firstQuery(app.state.get());

  const least = () => {
    const { qLen, kvLen } = extent();
    return Math.min(fitting(kvLen, area.wide), fitting(qLen, area.high));
  };

  /** @returns {View} */
  function view() {
    const { qLen, kvLen } = extent();
    const asked = app.state.get().view ?? { q: 0, k: 0, zoom: least() };
    return clamped({ ...asked, zoom: Math.max(exact(asked.zoom), least()) }, qLen, kvLen, area.wide, area.high);
  }

  /** @param {View} next */
  function look(next) {
    const { qLen, kvLen } = extent();
    app.state.set({ view: clamped(next, qLen, kvLen, area.wide, area.high) }, { replace: true });
  }

  function resize() {
    dpr = window.devicePixelRatio || 1;
    const words = tokens(app.state.get().text).length > 0;
    area.left = words ? 92 : 68;
    area.top = words ? 64 : 34;
    const { width, height } = root.getBoundingClientRect();
    for (const canvas of [cells, over]) {
      canvas.width = Math.round(width * dpr);
      canvas.height = Math.round(height * dpr);
    }
    mini.width = mini.height = Math.round(MINI * dpr);
    area.wide = Math.max(1, Math.floor((width - area.left - 12) * dpr));
    area.high = Math.max(1, Math.floor((height - area.top - 4) * dpr));
    redraw();
  }

  /** Device pixels that the shown part of the matrix takes. @param {View} at */
  function shown(at) {
    const { qLen, kvLen } = extent();
    return {
      wide: Math.min(area.wide, Math.ceil(pixelsOf(kvLen - at.k, at.zoom))),
      high: Math.min(area.high, Math.ceil(pixelsOf(qLen - at.q, at.zoom))),
    };
  }

  /** @param {boolean} [all] the matrix too, not only what lies over it */
  function redraw(all = true) {
    stale ||= all;
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  }

  function draw() {
    const at = view();
    const under = stale;
    stale = false; // tiles that wait for the next frame ask for it
    if (under) drawUnder(at);
    if (two() && !rest) lay(at);
    drawOver(at);
    root.dataset.settled = String(tiles.settled() && !(two() && laid.length < 2));
  }

  const two = () => placed.some(({ picture }) => picture.counts.length > 1);

  /** @param {View} at */
  function drawUnder(at) {
    tiles.begin();
    drawTiles(at);
    drawAxes(at);
    drawMini(at);
    const why = tiles.refusal();
    if (why !== said) refuse(app, trouble, why); // once: it has a button, and is read aloud
    said = why;
    laid = [];
    // Patterns take long to lay over a picture that moves: they come once it rests.
    const place = JSON.stringify([at, placed.length]);
    if (two() && place !== drawn) {
      clearTimeout(rest);
      rest = window.setTimeout(() => ((rest = 0), redraw(false)), REST);
    }
    drawn = place;
  }

  /** Lay patterns over two masks, a little each frame, so that none takes long. @param {View} at */
  function lay(at) {
    if (laid.length === 2) return;
    const next = placed.find(({ picture }) => !picture.sides.length);
    if (next) cut(next.picture);
    else laid.push(pattern(laid.length, placed, boxOf(at), dpr));
    redraw(false);
  }

  /** Where the matrix is on its canvases, in device pixels. @param {View} at */
  const boxOf = (at) => ({ x: Math.round(area.left * dpr), y: Math.round(area.top * dpr), ...shown(at) });

  /** @param {View} at */
  function drawTiles(at) {
    const context = contextOf(cells);
    const { x: x0, y: y0, wide, high } = boxOf(at);
    context.resetTransform();
    context.clearRect(0, 0, cells.width, cells.height);
    context.save();
    context.beginPath();
    context.rect(x0, y0, wide, high);
    context.clip();
    context.imageSmoothingEnabled = false;
    context.fillStyle = css(palette().none);
    context.globalAlpha = 0.4;
    context.fillRect(x0, y0, wide, high);
    context.globalAlpha = 1;
    const step = stepOf(at.zoom);
    const side = TILE * step;
    const size = pixelsOf(side, at.zoom);
    /** @param {number} cells */
    const pixels = (cells) => pixelsOf(cells, at.zoom);
    placed = [];
    /** @type {Set<string>} */
    const wanted = new Set([tiles.name(miniStep(), 0, 0)]);
    for (let row = Math.floor(at.q / side); pixels(row * side - at.q) < high; row++) {
      for (let column = Math.floor(at.k / side); pixels(column * side - at.k) < wide; column++) {
        wanted.add(tiles.name(step, row, column));
        const picture = tiles.get(step, row, column, extent());
        const [x, y] = [x0 + pixels(column * side - at.k), y0 + pixels(row * side - at.q)];
        if (!picture) continue;
        context.drawImage(picture.canvas, x, y, size, size);
        placed.push({ picture, x, y, size });
      }
    }
    tiles.keep(wanted);
    context.restore();
    // What a test needs to find a cell's pixel, and a screen reader has no use for.
    Object.assign(cells.dataset, { x: x0, y: y0, wide, high, q: at.q, k: at.k, zoom: at.zoom, step });
  }

  /** Round the matrix. @param {View} at */
  function drawAxes(at) {
    const context = contextOf(cells);
    const style = getComputedStyle(root);
    const { wide, high } = shown(at);
    context.setTransform(dpr, 0, 0, dpr, 0, 0);
    context.font = `12px ${style.fontFamily}`;
    const ink = style.getPropertyValue("--muted");
    const words = tokens(app.state.get().text);
    const box = { left: area.left, top: area.top };
    const across = { from: at.k, cells: wide / at.zoom, pixels: wide / dpr, offset: 0, across: true };
    const down = { from: at.q, cells: high / at.zoom, pixels: high / dpr, offset: qStart(), across: false };
    for (const axis of [across, down]) drawAxis(context, { ...axis, ...box, words, ink });
  }

  /** @param {View} at */
  function drawOver(at) {
    const context = contextOf(over);
    const style = getComputedStyle(root);
    const { x, y, wide, high } = boxOf(at);
    context.resetTransform();
    context.clearRect(0, 0, over.width, over.height);
    for (const layer of laid) context.drawImage(layer, x, y);
    context.setTransform(dpr, 0, 0, dpr, 0, 0);
    const cell = at.zoom / dpr;
    if (at.zoom >= LINES_FROM) drawLines(context, cell, wide / dpr, high / dpr, style.getPropertyValue("--line"));
    context.strokeStyle = style.getPropertyValue("--muted");
    context.lineWidth = 1;
    context.strokeRect(area.left - 0.5, area.top - 0.5, wide / dpr + 1, high / dpr + 1);
    const { cell: pinned } = app.state.get();
    for (const [target, colour, width] of [
      [app.hover.get(), style.getPropertyValue("--mark"), 1.5],
      [pinned, style.getPropertyValue("--mark"), 2.5],
    ]) if (target) outline(context, /** @type {Cell} */ (target), at, String(colour), Number(width), wide / dpr, high / dpr);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} cell @param {number} wide @param {number} high
   * @param {string} colour */
  function drawLines(context, cell, wide, high, colour) {
    context.strokeStyle = colour;
    context.lineWidth = 0.5;
    context.beginPath();
    for (let x = cell; x < wide - 0.5; x += cell) {
      context.moveTo(area.left + x, area.top);
      context.lineTo(area.left + x, area.top + high);
    }
    for (let y = cell; y < high - 0.5; y += cell) {
      context.moveTo(area.left, area.top + y);
      context.lineTo(area.left + wide, area.top + y);
    }
    context.stroke();
  }

  /** The cell, and its row and column as bands. @param {CanvasRenderingContext2D} context @param {Cell} target
   * @param {View} at @param {string} colour @param {number} line @param {number} wide @param {number} high */
  function outline(context, target, at, colour, line, wide, high) {
    const size = Math.max(at.zoom / dpr, 3);
    const x = ((target.k - at.k) * at.zoom) / dpr;
    const y = ((target.q - qStart() - at.q) * at.zoom) / dpr;
    context.save();
    context.beginPath();
    context.rect(area.left - 1, area.top - 1, wide + 2, high + 2);
    context.clip();
    context.fillStyle = colour;
    context.globalAlpha = 0.12;
    context.fillRect(area.left, area.top + y, wide, size);
    context.fillRect(area.left + x, area.top, size, high);
    context.globalAlpha = 1;
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(area.left + x, area.top + y, size, size);
    context.restore();
  }

  const miniStep = () => {
    const { qLen, kvLen } = extent();
    return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(qLen, kvLen) / TILE)));
  };

  /** @param {View} at */
  function drawMini(at) {
    const { qLen, kvLen } = extent();
    const { wide, high } = shown(at);
    const whole = wide >= kvLen * at.zoom - 1 && high >= qLen * at.zoom - 1;
    mini.hidden = whole;
    if (whole) return;
    const context = contextOf(mini);
    const step = miniStep();
    const picture = tiles.get(step, 0, 0, extent());
    const scale = mini.width / Math.max(qLen, kvLen);
    context.clearRect(0, 0, mini.width, mini.height);
    if (picture) context.drawImage(picture.canvas, 0, 0, TILE * step * scale, TILE * step * scale);
    context.strokeStyle = getComputedStyle(root).getPropertyValue("--accent");
    context.lineWidth = 2 * dpr;
    const size = (/** @type {number} */ pixels) => Math.max((pixels / at.zoom) * scale, 4 * dpr);
    context.strokeRect(at.k * scale, at.q * scale, size(wide), size(high));
  }

  /** The cell at a point of the canvas, in CSS pixels. @param {number} x @param {number} y @returns {Cell|null} */
  function cellAt(x, y) {
    const at = view();
    const { wide, high } = shown(at);
    const [right, below] = [(x - area.left) * dpr, (y - area.top) * dpr];
    if (right < 0 || below < 0 || right >= wide || below >= high) return null;
    const { qLen, kvLen } = extent();
    // The last pixel may reach beyond the last cell.
    /** The first cell of a pixel. @param {number} from @param {number} pixel */
    const first = (from, pixel) =>
      Math.floor(at.zoom < 1 ? from + Math.floor(pixel) * stepOf(at.zoom) : from + pixel / at.zoom);
    return { q: qStart() + Math.min(first(at.q, below), qLen - 1), k: Math.min(first(at.k, right), kvLen - 1) };
  }

  /** Zoom and keep the point where it is. @param {number} direction @param {number} x @param {number} y */
  function zoom(direction, x, y) {
    const at = view();
    const next = nextZoom(at.zoom, direction, least());
    const [right, below] = [Math.max(0, (x - area.left) * dpr), Math.max(0, (y - area.top) * dpr)];
    look({
      q: at.q + below / at.zoom - below / next,
      k: at.k + right / at.zoom - right / next,
      zoom: next,
    });
  }

  /** @param {number} x @param {number} y in CSS pixels; @param {View} from */
  const pan = (x, y, from) => look({ ...from, q: from.q - (y * dpr) / from.zoom, k: from.k - (x * dpr) / from.zoom });

  /** Bring a cell into view. @param {Cell} target */
  function reveal(target) {
    const at = view();
    const { wide, high } = shown(at);
    const [across, down] = [wide / at.zoom, high / at.zoom];
    const q = target.q - qStart();
    const next = { ...at };
    if (q < at.q || q >= at.q + down) next.q = q - down / 2;
    if (target.k < at.k || target.k >= at.k + across) next.k = target.k - across / 2;
    if (next.q !== at.q || next.k !== at.k) look(next);
  }

  /** Where a cell is on the canvas, in CSS pixels. @param {Cell} target */
  function placeOf({ q, k }) {
    const at = view();
    return [area.left + ((k - at.k) * at.zoom) / dpr, area.top + ((q - qStart() - at.q) * at.zoom) / dpr];
  }

  attachPointer(app, over, { cellAt, placeOf, zoom, pan, view, reveal, extent, qStart,
    fit: () => app.state.set({ view: null }) });
  /** @param {PointerEvent} event */
  function jump(event) {
    const { qLen, kvLen } = extent();
    const at = view();
    const scale = Math.max(qLen, kvLen) / MINI;
    const { wide, high } = shown(at);
    look({ ...at, q: event.offsetY * scale - high / at.zoom / 2, k: event.offsetX * scale - wide / at.zoom / 2 });
  }
  mini.addEventListener("pointerdown", (event) => (mini.setPointerCapture(event.pointerId), jump(event)));
  mini.addEventListener("pointermove", (event) => mini.hasPointerCapture(event.pointerId) && jump(event));
  new ResizeObserver(resize).observe(root);
  /** A page that moves to another screen keeps its size and changes its pixels. */
  function watchPixels() {
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => (resize(), watchPixels()), { once: true });
  }
  watchPixels();
  app.hover.on(() => redraw(false));
  app.state.on(["text"], resize);
  app.state.on(null, () => redraw());
  app.state.on(["length", "qLen", "qStart"], () => {
    const at = app.hover.get();
    if (at && (at.k >= extent().kvLen || at.q < qStart() || at.q >= qStart() + extent().qLen)) app.hover.set(null);
  });
  app.onTheme(() => redraw());
  resize();
}
