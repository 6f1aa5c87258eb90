// Tiles of the matrix: 256 x 256 pixels of exact counts, asked once, painted in the theme's colours.
// @ts-check

import { fourWay, palette, ramp } from "./paint.js";
import { stencil } from "./sides.js";
import { ratio } from "./view.js";

export const TILE = 256;
const MOST = 96;
const ASKED = 2; // tiles asked for in one frame: a long mask makes a long address, whose request takes its time

/**
 * @typedef {object} Tile
 * @property {Float64Array[]} counts  one layer, or three: both, only left, only right
 * @property {Picture|null} picture
 * @property {number} q0
 * @property {number} k0
 * @property {number} step
 */
/** @typedef {{qLen: number, kvLen: number}} Extent */
/** @typedef {{canvas: HTMLCanvasElement, sides: HTMLCanvasElement[]}} Picture  sides: of two masks, what only one allows */

/** Cells along a pixel, which the grid's end may cut short. @param {number} from of its tile @param {number} at in it
 * @param {number} step @param {number} end */
function covered(from, at, step, end) {
  const [first, next] = [at, at + 1].map((pixel) => Math.min(from + Math.floor(pixel * step), end));
  return next - first;
}

/** @param {Tile} tile @param {Extent} extent @returns {Picture} */
function paint(tile, extent) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = TILE;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(TILE, TILE);
  const colours = palette();
  const [first, left, right] = tile.counts;
  const all = new Float64Array(TILE * TILE);
  // Neighbours are often alike: their colour is made once.
  let [pairs, one, two, three] = [-1, -1, -1, -1];
  /** @type {import("./paint.js").Rgb} */
  let colour = colours.none;
  const wide = Array.from({ length: TILE }, (_, j) => covered(tile.k0, j, tile.step, extent.kvLen));
  for (let i = 0; i < TILE; i++) {
    const high = covered(tile.q0, i, tile.step, extent.qLen);
    for (let j = 0; j < TILE; j++) {
      const cells = high * wide[j];
      if (!cells) continue;
      const at = i * TILE + j;
      all[at] = cells;
      if (cells !== pairs || first[at] !== one || (left && (left[at] !== two || right[at] !== three))) {
        [pairs, one] = [cells, first[at]];
        if (left) [two, three] = [left[at], right[at]];
        colour = left ? fourWay(one, two, three, cells, colours) : ramp(one, cells, colours);
      }
      const byte = at * 4;
      image.data[byte] = colour[0];
      image.data[byte + 1] = colour[1];
      image.data[byte + 2] = colour[2];
      image.data[byte + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return { canvas, sides: left ? [stencil(left, all), stencil(right, all)] : [] };
}

/**
 * @param {import("./main.js").App} app
 * @param {() => void} onArrival called when a tile has come
 */
export function createTiles(app, onArrival) {
  /** @type {Map<string, Tile>} */
  const kept = new Map();
  /** @type {Map<string, AbortController>} */
  const coming = new Map();
  /** Why tiles did not come; the next change of the state tries them again. @type {Map<string, string>} */
  const refused = new Map();
  // One tile a frame is painted, so that no frame takes long; the others wait for the next.
  let painted = false;
  let begun = 0;
  let waiting = false;

  /** What is counted: a mask, or two of them and how they differ. */
  function counted() {
    const { other, panel } = app.state.get();
    return panel === "compare" ? { ...app.grid(), other } : app.grid();
  }

  /** @param {number} step @param {number} row @param {number} column */
  const name = (step, row, column) => JSON.stringify([counted(), step, row, column]);

  /** @param {string} key @param {number} step @param {number} row @param {number} column */
  async function fetchTile(key, step, row, column) {
    const stop = new AbortController();
    coming.set(key, stop);
    const place = { q0: row * TILE * step, k0: column * TILE * step, step };
    try {
      const asked = { ...counted(), ...place, ...ratio(step), rows: TILE, columns: TILE };
      const found = await app.askTile(asked, stop.signal);
      const planes = found.length / TILE ** 2;
      const counts = Array.from({ length: planes }, (_, at) => found.subarray(at * TILE ** 2, (at + 1) * TILE ** 2));
      kept.set(key, { counts, picture: null, ...place });
      for (const oldest of kept.keys()) {
        if (kept.size <= MOST) break;
        kept.delete(oldest);
      }
      onArrival();
    } catch (error) {
      // What was given up is no news.
      if (!stop.signal.aborted) {
        refused.set(key, String(/** @type {Error} */ (error).message));
        onArrival();
      }
    } finally {
      coming.delete(key);
    }
  }

  app.state.on(null, () => refused.clear());
  app.onTheme(() => {
    for (const tile of kept.values()) tile.picture = null;
    onArrival();
  });

  return {
    /** A frame begins. */
    begin() {
      painted = waiting = false;
      begun = 0;
    },
    /** The tile's picture, or null while it is on its way.
     * @param {number} step @param {number} row @param {number} column @param {Extent} extent */
    get(step, row, column, extent) {
      const key = name(step, row, column);
      const tile = kept.get(key);
      if (!tile) {
        if (coming.has(key) || refused.has(key)) return null;
        if (begun < ASKED) {
          begun += 1;
          void fetchTile(key, step, row, column);
        } else {
          waiting = true;
          onArrival();
        }
        return null;
      }
      // the most recently used stay
      kept.delete(key);
      kept.set(key, tile);
      if (!tile.picture && painted) {
        waiting = true;
        onArrival();
        return null;
      }
      if (!tile.picture) {
        painted = true;
        tile.picture = paint(tile, extent);
      }
      return tile.picture;
    },
    /** Give up what is on its way and no longer wanted. @param {Set<string>} wanted */
    keep(wanted) {
      for (const [key, stop] of coming) if (!wanted.has(key)) stop.abort();
    },
    name,
    /** Why there is no picture, null where there is one. */
    refusal: () => [...refused.values()][0] ?? null,
    /** Whether nothing is on its way. */
    settled: () => coming.size === 0 && !waiting,
  };
}
