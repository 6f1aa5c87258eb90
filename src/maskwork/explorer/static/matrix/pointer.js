// Mouse, touch and keys on the matrix.
// @ts-check

/** @typedef {import("../state.js").View} View */
/** @typedef {import("../state.js").Cell} Cell */

/**
 * @typedef {object} Matrix
 * @property {(x: number, y: number) => Cell|null} cellAt
 * @property {(cell: Cell) => number[]} placeOf
 * @property {(direction: number, x: number, y: number) => void} zoom
 * @property {(x: number, y: number, from: View) => void} pan
 * @property {() => View} view
 * @property {(cell: Cell) => void} reveal
 * @property {() => {qLen: number, kvLen: number}} extent
 * @property {() => number} qStart
 * @property {() => void} fit
 */

const DRAG = 4; // CSS pixels, below which a press is a click
const WHEEL = 60; // of a wheel's travel for a step of zoom

/** @param {import("../main.js").App} app @param {HTMLCanvasElement} canvas @param {Matrix} matrix */
export function attachPointer(app, canvas, matrix) {
  /** @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  let start = { x: 0, y: 0, view: matrix.view(), moved: false };
  let spread = 0;
  let travel = 0;

  /** @param {PointerEvent} event */
  const at = (event) => ({ x: event.offsetX, y: event.offsetY });
  const distance = () => {
    const [a, b] = [...down.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    start = { ...at(event), view: matrix.view(), moved: down.size > 1 };
    if (down.size === 2) spread = distance();
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = at(event);
    if (!down.has(event.pointerId)) {
      app.hover.set(matrix.cellAt(here.x, here.y));
      return;
    }
    down.set(event.pointerId, here);
    if (down.size === 2) {
      const ratio = distance() / spread;
      if (ratio > 1.3 || ratio < 0.77) {
        const [a, b] = [...down.values()];
        matrix.zoom(ratio > 1 ? 1 : -1, (a.x + b.x) / 2, (a.y + b.y) / 2);
        spread = distance();
      }
    } else if (start.moved || Math.hypot(here.x - start.x, here.y - start.y) > DRAG) {
      start.moved = true;
      matrix.pan(here.x - start.x, here.y - start.y, start.view);
    }
  });
  /** @param {PointerEvent} event */
  const up = (event) => {
    if (!down.delete(event.pointerId) || start.moved || event.type === "pointercancel") return;
    const cell = matrix.cellAt(event.offsetX, event.offsetY);
    const { cell: pinned } = app.state.get();
    app.state.set({ cell: cell && pinned?.q === cell.q && pinned.k === cell.k ? null : cell });
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => app.hover.set(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) {
      matrix.pan(-event.deltaY || -event.deltaX, 0, matrix.view());
      return;
    }
    travel -= event.deltaY;
    if (Math.abs(travel) >= WHEEL || Math.abs(event.deltaY) >= WHEEL) {
      matrix.zoom(Math.sign(travel), event.offsetX, event.offsetY);
      travel = 0;
    }
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => matrix.zoom(event.shiftKey ? -1 : 1, event.offsetX, event.offsetY));

  /** @param {number} dq @param {number} dk */
  function move(dq, dk) {
    const { qLen, kvLen } = matrix.extent();
    const first = { q: matrix.qStart() + matrix.view().q, k: matrix.view().k };
    const from = app.hover.get() ?? app.state.get().cell;
    const cell = from ? { q: from.q + dq, k: from.k + dk } : first;
    cell.q = Math.min(Math.max(cell.q, matrix.qStart()), matrix.qStart() + qLen - 1);
    cell.k = Math.min(Math.max(cell.k, 0), kvLen - 1);
    matrix.reveal(cell);
    app.hover.set(cell);
    app.announce(`query ${cell.q}, key ${cell.k}`);
  }

  canvas.addEventListener("keydown", (event) => {
    // One cell, and where cells are smaller than a pixel one pixel: a step can always be seen.
    const many = Math.max(1, Math.round((event.shiftKey ? 128 : 1) / matrix.view().zoom));
    const cursor = app.hover.get() ?? app.state.get().cell;
    const middle = cursor ? matrix.placeOf(cursor) : [canvas.clientWidth / 2, canvas.clientHeight / 2];
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowUp: () => move(-many, 0),
      ArrowDown: () => move(many, 0),
      ArrowLeft: () => move(0, -many),
      ArrowRight: () => move(0, many),
      "+": () => matrix.zoom(1, middle[0], middle[1]),
      "=": () => matrix.zoom(1, middle[0], middle[1]),
      "-": () => matrix.zoom(-1, middle[0], middle[1]),
      "0": () => matrix.fit(),
      Enter: () => app.state.set({ cell: app.hover.get() }),
      Escape: () => app.state.set({ cell: null }),
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
