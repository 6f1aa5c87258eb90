// The page: creates the state, the connection to the server and every part, and connects them.
// @ts-check

import { createApi, gridParameters, takeToken } from "./api.js";
import { createControls } from "./controls.js";
import { createEditor } from "./editor.js";
import { createMatrix } from "./matrix/matrix.js";
import { createPanels } from "./panels/panels.js";
import { byId } from "./panels/parts.js";
import { createState } from "./state.js";
import { createTheme } from "./theme.js";
import { showTourOnce, startTour } from "./tour.js";

/** @typedef {import("./state.js").Cell} Cell */
/** @typedef {ReturnType<typeof createApp>} App */

/** Create what every part of the page gets: the state, the server, the theme and the cell under the pointer. */
function createApp() {
  const state = createState();
  const api = createApi((offline) => {
    byId("away").hidden = !offline;
  });
  return {
    state,
    ask: api.ask,
    askTile: api.askTile,
    load: api.load,
    /** Return the current mask, grid and plane as parameters of a question. */
    grid: () => gridParameters(state.get()),
    onTheme: createTheme(state, byId("theme")),
    /**
     * Say a text to screen readers.
     * @param {string} text
     */
    announce(text) {
      byId("live").textContent = text;
    },
    hover: createHover(),
  };
}

/** Create the store of the cell under the pointer or the keyboard's cursor, which changes too often for the state. */
function createHover() {
  /** @type {Cell|null} */
  let current = null;
  /** @type {((cell: Cell|null) => void)[]} */
  const listeners = [];
  return {
    get: () => current,
    /** @param {Cell|null} cell */
    set(cell) {
      if (cell?.q === current?.q && cell?.k === current?.k) return;
      current = cell;
      for (const listener of listeners) listener(cell);
    },
    /** @param {(cell: Cell|null) => void} listener */
    on: (listener) => void listeners.push(listener),
  };
}

takeToken();
const app = createApp();
byId("tour").addEventListener("click", () => startTour(app));
createEditor(app);
createMatrix(app, byId("matrix"));
createControls(app, byId("controls"));
createPanels(app, byId("tabs"), byId("panel"));
showTourOnce(app);
