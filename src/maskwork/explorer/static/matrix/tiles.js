// Tiles of the matrix: 256 x 256 pixels of exact counts, asked once, painted in the theme's colours.
// @ts-check

import { fourWay, palette, pixel, ramp } from "./paint.js";
import { ratio } from "./view.js";

export const TILE = 256;
const MOST = 96;
const ASKED = 2; // tiles asked for in one frame: a long mask makes a long address, whose request takes its time
const PAINTING = 4; // ms of a frame for tiles that have come, after the first of them; the others wait for the next

/**
 * @typedef {object} Tile
 * @property {Counts[]} counts  one plane, or three: both, only left, only right
 * @property {Picture|null} picture
 * @property {number} q0
 * @property {number} k0
 * @property {number} step
 */
/** @typedef {{qLen: number, kvLen: number}} Extent */
/** @typedef {import("../api.js").Counts} Counts */
/**
 * @typedef {object} Picture
 * @property {HTMLCanvasElement} canvas
 * @property {Counts[]} counts  of its tile
 * @property {Float64Array} high  cells along each pixel of a column
 * @property {Float64Array} wide  of a row
 * @property {HTMLCanvasElement[]} sides  of two masks, what only one allows, once it was cut out for patterns
 */

/** Cells along each pixel of a tile's side, which the grid's end may cut short. @param {number} from
 * @param {number} step @param {number} end */
function covered(from, step, end) {
  const edge = (/** @type {number} */ at) => Math.min(from + Math.floor(at * step), end);
  return Float64Array.from({ length: TILE }, (_, at) => edge(at + 1) - edge(at));
}

/** @param {Tile} tile @param {Extent} extent @returns {Picture} */
function paint(tile, extent) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = TILE;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(TILE, TILE);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = palette();
  const { counts } = tile;
  const [first, left, right] = counts;
  const high = covered(tile.q0, tile.step, extent.qLen);
  const wide = covered(tile.k0, tile.step, extent.kvLen);
  // Neighbours are often alike: their colour is made once.
  let [pairs, one, two, three] = [-1, -1, -1, -1];
  let colour = 0;
  for (let i = 0, at = 0; i < TILE; i++) {
    for (let j = 0; j < TILE; j++, at++) {
      const cells = high[i] * wide[j];
      if (!cells) continue;
      if (cells !== pairs || first[at] !== one || (left && (left[at] !== two || right[at] !== three))) {
        pairs = cells;
        one = first[at];
        if (left) {
          two = left[at];
          three = right[at];
        }
        colour = pixel(left ? fourWay(one, two, three, cells, colours) : ramp(one, cells, colours));
      }
      pixels[at] = colour;
    }
  }
  context.putImageData(image, 0, 0);
  return { canvas, counts, high, wide, sides: [] };
}

/**
 * @param {import("../main.js").App} app
 * @param {() => void} onArrival called when a tile has come
 */
export function createTiles(app, onArrival) {
  /** @type {Map<string, Tile>} */
  const kept = new Map();
  /** @type {Map<string, AbortController>} */
  const coming = new Map();
  /** Why tiles did not come; the next change of the state tries them again. @type {Map<string, string>} */
  const refused = new Map();
  let painting = 0; // when this frame began to paint tiles
  let begun = 0;
  let waiting = false;

  /** What is counted: a mask, or two of them and how they differ. */
  function counted() {
    const { other, panel } = app.state.get();
    return panel === "compare" ? { ...app.grid(), other } : app.grid();
  }

  // A long mask makes a long name: what is counted has a number instead.
  /** @type {Map<string, number>} */
  const numbers = new Map();
  let number = 0;
  function count() {
    const text = JSON.stringify(counted());
    number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
  }

  /** @param {number} step @param {number} row @param {number} column */
  const name = (step, row, column) => `${number} ${step} ${row} ${column}`;

  /** @param {string} key @param {number} step @param {number} row @param {number} column */
  async function fetchTile(key, step, row, column) {
    const stop = new AbortController();
    coming.set(key, stop);
    const place = { q0: row * TILE * step, k0: column * TILE * step, step };
    try {
      const asked = { ...counted(), ...place, ...ratio(step), rows: TILE, columns: TILE };
      const counts = await app.askTile(asked, stop.signal);
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
      waiting = false;
      painting = begun = 0;
      count();
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
      if (!tile.picture) {
        const now = performance.now();
        painting ||= now;
        if (now - painting > PAINTING) {
          waiting = true;
          onArrival();
          return null;
        }
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
