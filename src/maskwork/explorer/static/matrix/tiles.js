// Tiles of the matrix: exact counts of 256 x 256 pixels, asked for once, stored, and painted a few per frame.
// @ts-check

import { paintTile, TILE } from "./picture.js";
import { ratioOf } from "./view.js";

/** @typedef {import("./picture.js").Tile} Tile */
/** @typedef {import("./picture.js").Extent} Extent */

const MAX_TILES = 96;
const REQUESTS = 2; // per frame: a long mask makes a long address, whose request takes its time
const PAINT_BUDGET = 4; // ms of a frame for tiles after the first; the others wait for the next frame

/**
 * Create the names of tiles. A name holds a number for what is counted instead of its text, which may be long.
 * @param {() => object} counted parameters of the masks that are counted
 */
function createNames(counted) {
  /** @type {Map<string, number>} */
  const numbers = new Map();
  let number = 0;
  return {
    update() {
      const text = JSON.stringify(counted());
      number = numbers.get(text) ?? numbers.size;
      numbers.set(text, number);
    },
    /** @param {number} step @param {number} row @param {number} column */
    name: (step, row, column) => `${number} ${step} ${row} ${column}`,
  };
}

/** Create a store that drops the tile used longest ago. */
function createStore() {
  /** @type {Map<string, Tile>} */
  const tiles = new Map();
  return {
    /** @param {string} key @param {Tile} tile */
    add(key, tile) {
      tiles.set(key, tile);
      for (const oldest of tiles.keys()) {
        if (tiles.size <= MAX_TILES) break;
        tiles.delete(oldest);
      }
    },
    /** @param {string} key */
    use(key) {
      const tile = tiles.get(key);
      if (tile) {
        tiles.delete(key);
        tiles.set(key, tile); // now the last one
      }
      return tile;
    },
    forgetPictures() {
      for (const tile of tiles.values()) tile.picture = null;
    },
  };
}

/**
 * Create the tiles.
 * @param {import("../main.js").App} app
 * @param {() => void} onChange called when a tile has come, was refused, or waits for the next frame
 */
export function createTiles(app, onChange) {
  /** Parameters of what is counted: one mask, or two and how they differ. */
  function counted() {
    const { other, panel } = app.state.get();
    return panel === "compare" ? { ...app.grid(), other } : app.grid();
  }

  const store = createStore();
  const names = createNames(counted);
  /** Requests on their way. @type {Map<string, AbortController>} */
  const pending = new Map();
  /** Why tiles did not come; the next change of the state tries them again. @type {Map<string, string>} */
  const refused = new Map();
  let paintingSince = 0; // when this frame began to paint tiles
  let requests = 0; // sent in this frame
  let waiting = false; // a tile waits for the next frame

  /** @param {string} key @param {number} step @param {number} row @param {number} column */
  async function request(key, step, row, column) {
    const abort = new AbortController();
    pending.set(key, abort);
    const place = { q0: row * TILE * step, k0: column * TILE * step, step };
    try {
      const parameters = { ...counted(), ...place, ...ratioOf(step), rows: TILE, columns: TILE };
      store.add(key, { counts: await app.askTile(parameters, abort.signal), picture: null, ...place });
      onChange();
    } catch (error) {
      if (!abort.signal.aborted) {
        refused.set(key, String(/** @type {Error} */ (error).message));
        onChange();
      }
    } finally {
      pending.delete(key);
    }
  }

  function waitForNextFrame() {
    waiting = true;
    onChange();
  }

  app.state.on(null, () => refused.clear());
  app.onTheme(() => {
    store.forgetPictures();
    onChange();
  });

  return {
    /** Start a frame: its budgets are full again. */
    beginFrame() {
      waiting = false;
      paintingSince = requests = 0;
      names.update();
    },
    /**
     * Return the tile's picture, null while it is on its way.
     * @param {number} step
     * @param {number} row
     * @param {number} column
     * @param {Extent} extent
     */
    get(step, row, column, extent) {
      const key = names.name(step, row, column);
      const tile = store.use(key);
      if (!tile) {
        if (pending.has(key) || refused.has(key)) return null;
        if (requests < REQUESTS) {
          requests += 1;
          void request(key, step, row, column);
        } else {
          waitForNextFrame();
        }
        return null;
      }
      if (!tile.picture) {
        const now = performance.now();
        paintingSince ||= now;
        if (now - paintingSince > PAINT_BUDGET) {
          waitForNextFrame();
          return null;
        }
        tile.picture = paintTile(tile, extent);
      }
      return tile.picture;
    },
    /** Abort the requests for all tiles but these. @param {Set<string>} needed */
    giveUpOthers(needed) {
      for (const [key, abort] of pending) if (!needed.has(key)) abort.abort();
    },
    name: names.name,
    /** Return why there is no picture, null where there is one. */
    refusal: () => [...refused.values()][0] ?? null,
    /** Return whether no tile is on its way. */
    settled: () => pending.size === 0 && !waiting,
  };
}
