// Mouse, touch and keys on the matrix.
// @ts-check

import { cellAt, pannedView, pointOf, viewOn, zoomedView } from "./frame.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").View} View */
/** @typedef {import("./frame.js").Frame} Frame */
/** @typedef {{x: number, y: number}} Point  CSS pixels of the canvas */
/** @typedef {{app: App, canvas: HTMLCanvasElement, frame: () => Frame, setView: (view: View) => void}} Target */

const DRAG = 4; // CSS pixels, below which a press is a click
const WHEEL = 60; // of a wheel's travel for a step of zoom
const PINCH = { out: 1.3, in: 0.77 }; // change of two fingers' distance for a step of zoom
const FAR = 128; // device pixels that an arrow with Shift moves

/**
 * Let mouse, touch and keys move the view, the cursor and the pinned cell.
 * @param {App} app
 * @param {HTMLCanvasElement} canvas
 * @param {() => Frame} frame the current one
 * @param {(view: View) => void} setView
 */
export function attachPointer(app, canvas, frame, setView) {
  const target = { app, canvas, frame, setView };
  attachDrag(target);
  attachWheel(target);
  attachKeys(target);
}

/** @param {Map<number, Point>} fingers of which there are two */
function pinchOf(fingers) {
  const [a, b] = [...fingers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
}

/** Pan by dragging, zoom by two fingers, pin by a click. @param {Target} target */
function attachDrag({ app, canvas, frame, setView }) {
  /** Where each finger, or the mouse, is pressed. @type {Map<number, Point>} */
  const pressed = new Map();
  let start = { x: 0, y: 0, view: frame().view, moved: false };
  let distance = 0; // of two fingers, at the last step of zoom

  /** @param {PointerEvent} event */
  const pointOfEvent = (event) => ({ x: event.offsetX, y: event.offsetY });

  function pinch() {
    const { x, y, distance: next } = pinchOf(pressed);
    const ratio = next / distance;
    if (ratio <= PINCH.out && ratio >= PINCH.in) return;
    setView(zoomedView(frame(), ratio > 1 ? 1 : -1, x, y));
    distance = next;
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, pointOfEvent(event));
    start = { ...pointOfEvent(event), view: frame().view, moved: pressed.size > 1 };
    if (pressed.size === 2) distance = pinchOf(pressed).distance;
  });
  canvas.addEventListener("pointermove", (event) => {
    const point = pointOfEvent(event);
    if (!pressed.has(event.pointerId)) {
      app.hover.set(cellAt(frame(), point.x, point.y));
      return;
    }
    pressed.set(event.pointerId, point);
    if (pressed.size === 2) {
      pinch();
    } else if (start.moved || Math.hypot(point.x - start.x, point.y - start.y) > DRAG) {
      start.moved = true;
      setView(pannedView(frame(), start.view, point.x - start.x, point.y - start.y));
    }
  });
  /** @param {PointerEvent} event */
  function release(event) {
    if (!pressed.delete(event.pointerId) || start.moved || event.type === "pointercancel") return;
    const cell = cellAt(frame(), event.offsetX, event.offsetY);
    const { cell: pinned } = app.state.get();
    app.state.set({ cell: cell && pinned?.q === cell.q && pinned.k === cell.k ? null : cell });
  }
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => app.hover.set(null));
}

/** Zoom by the wheel, pan across by the wheel with Shift, zoom by a double click. @param {Target} target */
function attachWheel({ canvas, frame, setView }) {
  let travel = 0;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) {
      const current = frame();
      setView(pannedView(current, current.view, -event.deltaY || -event.deltaX, 0));
      return;
    }
    travel -= event.deltaY;
    if (Math.abs(travel) >= WHEEL || Math.abs(event.deltaY) >= WHEEL) {
      setView(zoomedView(frame(), Math.sign(travel), event.offsetX, event.offsetY));
      travel = 0;
    }
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    setView(zoomedView(frame(), event.shiftKey ? -1 : 1, event.offsetX, event.offsetY));
  });
}

/**
 * Move the cursor by cells and bring it into view.
 * @param {Target} target
 * @param {number} dq
 * @param {number} dk
 */
function moveCursor({ app, frame, setView }, dq, dk) {
  const current = frame();
  const { qStart, qLen, kvLen, view } = current;
  const from = app.hover.get() ?? app.state.get().cell;
  const { q, k } = from ? { q: from.q + dq, k: from.k + dk } : { q: qStart + view.q, k: view.k };
  const cell = { q: Math.min(Math.max(q, qStart), qStart + qLen - 1), k: Math.min(Math.max(k, 0), kvLen - 1) };
  const next = viewOn(current, cell);
  if (next) setView(next);
  app.hover.set(cell);
  app.announce(`query ${cell.q}, key ${cell.k}`);
}

/** Arrows move the cursor, + and - zoom, 0 shows all, Enter pins, Escape unpins. @param {Target} target */
function attachKeys(target) {
  const { app, canvas, frame, setView } = target;

  /** Zoom at the cursor, or at the middle. @param {number} direction */
  function zoom(direction) {
    const cursor = app.hover.get() ?? app.state.get().cell;
    const current = frame();
    const { x, y } = cursor ? pointOf(current, cursor) : { x: canvas.clientWidth / 2, y: canvas.clientHeight / 2 };
    setView(zoomedView(current, direction, x, y));
  }
  canvas.addEventListener("keydown", (event) => {
    // One cell, and where cells are smaller than a pixel one pixel: a step can always be seen.
    const cells = Math.max(1, Math.round((event.shiftKey ? FAR : 1) / frame().view.zoom));
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowUp: () => moveCursor(target, -cells, 0),
      ArrowDown: () => moveCursor(target, cells, 0),
      ArrowLeft: () => moveCursor(target, 0, -cells),
      ArrowRight: () => moveCursor(target, 0, cells),
      "+": () => zoom(1),
      "=": () => zoom(1),
      "-": () => zoom(-1),
      "0": () => app.state.set({ view: null }),
      Enter: () => app.state.set({ cell: app.hover.get() }),
      Escape: () => app.state.set({ cell: null }),
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
