// The small map in the corner: the full matrix, and a frame round the part that is shown. Dragging it moves the view.
// @ts-check

import { boxOf } from "./frame.js";
import { contextOf } from "./paint.js";
import { TILE } from "./picture.js";

/** @typedef {import("./frame.js").Frame} Frame */

const SIDE = 96; // CSS pixels
const MIN_FRAME = 4; // CSS pixels of the frame

/** Cells under a pixel of the one tile that holds the full matrix. @param {Frame} frame */
const stepOfAll = ({ qLen, kvLen }) => 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(qLen, kvLen) / TILE)));

/**
 * Create the small map.
 * @param {HTMLCanvasElement} canvas
 * @param {ReturnType<typeof import("./tiles.js").createTiles>} tiles
 * @param {{frame: () => Frame, setView: (view: import("../state.js").View) => void}} matrix
 */
export function createMinimap(canvas, tiles, { frame: currentFrame, setView }) {
  canvas.setAttribute("aria-hidden", "true");

  /** @param {PointerEvent} event */
  function jump({ offsetX, offsetY }) {
    const frame = currentFrame();
    const { view, qLen, kvLen } = frame;
    const { wide, high } = boxOf(frame);
    const scale = Math.max(qLen, kvLen) / SIDE;
    setView({ ...view, q: offsetY * scale - high / view.zoom / 2, k: offsetX * scale - wide / view.zoom / 2 });
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    jump(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) jump(event);
  });

  return {
    /** @param {number} dpr device pixels of a CSS pixel */
    resize(dpr) {
      canvas.width = canvas.height = Math.round(SIDE * dpr);
    },
    /** Name the tile that the map needs. @param {Frame} frame */
    tileName: (frame) => tiles.name(stepOfAll(frame), 0, 0),
    /** Draw the map, or hide it where the frame shows the full matrix. @param {Frame} frame @param {string} colour */
    draw(frame, colour) {
      const { qLen, kvLen, view, room } = frame;
      const { wide, high } = boxOf(frame);
      canvas.hidden = wide >= kvLen * view.zoom - 1 && high >= qLen * view.zoom - 1;
      if (canvas.hidden) return;
      const context = contextOf(canvas);
      const step = stepOfAll(frame);
      const picture = tiles.get(step, 0, 0, frame);
      const scale = canvas.width / Math.max(qLen, kvLen);
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (picture) context.drawImage(picture.canvas, 0, 0, TILE * step * scale, TILE * step * scale);
      context.strokeStyle = colour;
      context.lineWidth = 2 * room.dpr;
      /** @param {number} pixels */
      const size = (pixels) => Math.max((pixels / view.zoom) * scale, MIN_FRAME * room.dpr);
      context.strokeRect(view.k * scale, view.q * scale, size(wide), size(high));
    },
  };
}
