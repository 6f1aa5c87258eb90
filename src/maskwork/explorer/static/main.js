// The page: what is on it, and who is told of what.
// @ts-check

import { createApi, grid, takeToken } from "./api.js";
import { createEditor } from "./editor.js";
import { createMatrix } from "./matrix/matrix.js";
import { createControls } from "./controls.js";
import { createPanels } from "./panels/panels.js";
import { createState } from "./state.js";
import { greet, startTour } from "./tour.js";

/** @param {string} id */
export const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

takeToken();
const state = createState();
const api = createApi((away) => {
  element("away").hidden = !away;
});

/** Said to those who listen to the page instead of looking at it. @param {string} text */
function announce(text) {
  element("live").textContent = text;
}

/** @type {(() => void)[]} */
const themed = [];
const dark = matchMedia("(prefers-color-scheme: dark)");

function paintTheme() {
  const { theme } = state.get();
  document.documentElement.dataset.theme = theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  for (const listener of themed) listener();
}

/** @typedef {ReturnType<typeof makeApp>} App */
function makeApp() {
  return {
    state,
    ask: api.ask,
    askTile: api.askTile,
    load: api.load,
    /** The current mask, grid and plane as parameters. */
    grid: () => grid(state.get()),
    /** @param {() => void} listener called when the colours change */
    onTheme: (listener) => void themed.push(listener),
    announce,
    hover: createHover(),
  };
}

/** The cell under the pointer, or the keyboard's cursor: it changes too often to be part of the state. */
function createHover() {
  /** @type {import("./state.js").Cell|null} */
  let current = null;
  /** @type {((cell: import("./state.js").Cell|null) => void)[]} */
  const listeners = [];
  return {
    get: () => current,
    /** @param {import("./state.js").Cell|null} cell */
    set(cell) {
      if (cell?.q === current?.q && cell?.k === current?.k) return;
      current = cell;
      for (const listener of listeners) listener(cell);
    },
    /** @param {(cell: import("./state.js").Cell|null) => void} listener */
    on: (listener) => void listeners.push(listener),
  };
}

const app = makeApp();
paintTheme();
dark.addEventListener("change", paintTheme);
state.on(["theme"], paintTheme);
element("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  state.set({ theme: now === "dark" ? "light" : "dark" });
});
element("tour").addEventListener("click", () => startTour(app));

createEditor(app);
createMatrix(app, element("matrix"));
createControls(app, element("controls"));
createPanels(app, element("tabs"), element("panel"));
greet(app);
