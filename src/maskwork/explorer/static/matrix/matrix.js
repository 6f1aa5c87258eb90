// The matrix: decides what is drawn anew and when; tiles and axes on one canvas, what is pointed at on another.
// @ts-check

import { make, makeNotice, showError } from "../panels/parts.js";
import { drawAxes, tokensOf } from "./axes.js";
import { drawTiles } from "./draw.js";
import { boxOf, frameOf, insideGrid } from "./frame.js";
import { createMinimap } from "./minimap.js";
import { drawOverlay } from "./overlay.js";
import { contextOf } from "./paint.js";
import { attachPointer } from "./pointer.js";
import { createPatternLayers } from "./sides.js";
import { createTiles } from "./tiles.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("./frame.js").Frame} Frame */
/** @typedef {import("./frame.js").Room} Room */

const LABEL = "Matrix of queries and keys. Arrow keys move, + and - zoom, 0 shows all, Enter pins.";
const MARGIN = { right: 12, bottom: 4 }; // CSS pixels
const AXES = { numbers: { left: 68, top: 34 }, tokens: { left: 92, top: 64 } }; // CSS pixels

/**
 * Return the room for the matrix, and fit the canvases to the element.
 * @param {HTMLElement} root
 * @param {HTMLCanvasElement[]} canvases
 * @param {boolean} tokens tokens stand on the axes
 * @returns {Room}
 */
function fitCanvases(root, canvases, tokens) {
  const dpr = window.devicePixelRatio || 1;
  const { left, top } = tokens ? AXES.tokens : AXES.numbers;
  const { width, height } = root.getBoundingClientRect();
  for (const canvas of canvases) {
    canvas.width = Math.round(width * dpr);
    canvas.height = Math.round(height * dpr);
  }
  const wide = Math.max(1, Math.floor((width - left - MARGIN.right) * dpr));
  const high = Math.max(1, Math.floor((height - top - MARGIN.bottom) * dpr));
  return { left, top, wide, high, dpr };
}

/** Call `act` when a pixel changes its size, as on a page that moves to another screen. @param {() => void} act */
function onPixelRatio(act) {
  matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => {
    act();
    onPixelRatio(act);
  }, { once: true });
}

/** Clear the cell under the cursor where the cell is outside the grid. @param {App} app @param {Frame} frame */
function dropHoverOutside(app, { qLen, kvLen, qStart }) {
  const cell = app.hover.get();
  if (cell && (cell.k >= kvLen || cell.q < qStart || cell.q >= qStart + qLen)) app.hover.set(null);
}

/**
 * Create the function that shows why tiles could not be counted. It shows a reason once: it is read aloud, and may have
 * a button.
 * @param {App} app
 * @param {HTMLElement} root
 */
function createTrouble(app, root) {
  const notice = makeNotice();
  root.append(notice);
  /** @type {string|null} */
  let shown = null;
  return (/** @type {string|null} */ reason) => {
    if (reason !== shown) showError(app, notice, reason);
    shown = reason;
  };
}

/**
 * Create the matrix.
 * @param {App} app
 * @param {HTMLElement} root
 */
export function createMatrix(app, root) {
  const [cells, over, mini] = ["cells", "over", "mini"].map((name) => make("canvas", name));
  over.tabIndex = 0;
  over.setAttribute("role", "application");
  over.setAttribute("aria-label", LABEL);
  root.append(cells, over, mini);
  const showTrouble = createTrouble(app, root);

  /** @type {Room} */
  let room = { left: 0, top: 0, wide: 1, high: 1, dpr: 1 };
  let request = 0; // of an animation frame
  let stale = true; // tiles and axes must be drawn anew, not only what lies over them

  const frame = () => frameOf(app.state.get(), room);
  /** @param {import("../state.js").View} view */
  const setView = (view) => app.state.set({ view: insideGrid(frame(), view) }, { replace: true });
  const tiles = createTiles(app, () => redraw());
  const patterns = createPatternLayers(() => redraw(false));
  const minimap = createMinimap(mini, tiles, { frame, setView });

  /** Draw in the next animation frame. @param {boolean} [all] false: only what lies over the tiles */
  function redraw(all = true) {
    stale ||= all;
    request ||= requestAnimationFrame(() => {
      request = 0;
      draw();
    });
  }

  function draw() {
    const current = frame();
    const style = getComputedStyle(root);
    const all = stale;
    stale = false; // a tile that waits for the next frame sets it again
    if (all) drawAll(current, style);
    patterns.advance(boxOf(current), room.dpr);
    const [hovered, pinned] = [app.hover.get(), app.state.get().cell];
    drawOverlay(contextOf(over), current, { style, layers: patterns.layers(), hovered, pinned });
    root.dataset.settled = String(tiles.settled() && patterns.complete());
  }

  /** Draw tiles, axes and the small map. @param {Frame} current @param {CSSStyleDeclaration} style */
  function drawAll(current, style) {
    tiles.beginFrame();
    const placed = drawTiles(contextOf(cells), current, tiles, minimap.tileName(current));
    drawAxes(contextOf(cells), current, { words: tokensOf(app.state.get().text), style });
    minimap.draw(current, style.getPropertyValue("--accent"));
    showTrouble(tiles.refusal());
    patterns.update(placed, current.view);
  }

  function resize() {
    room = fitCanvases(root, [cells, over], tokensOf(app.state.get().text).length > 0);
    minimap.resize(room.dpr);
    redraw();
  }

  attachPointer(app, over, frame, setView);
  new ResizeObserver(resize).observe(root);
  onPixelRatio(resize);
  app.hover.on(() => redraw(false));
  app.state.on(["text"], resize);
  app.state.on(null, () => redraw());
  app.state.on(["length", "qLen", "qStart"], () => dropHoverOutside(app, frame()));
  app.onTheme(() => redraw());
  resize();
}
