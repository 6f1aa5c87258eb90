// Depth: what reaches what through several layers, and the path by which the pinned key reaches the pinned query.
// @ts-check

import { formatInteger, formatPercent } from "../format.js";
import { ranges } from "../ranges.js";
import { follow, GRID } from "./follow.js";
import { make, makeBar, makeFigure, makeNotice, makeNumberField, makeTable, withLabel } from "./parts.js";
import { makePath } from "./path.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").Cell} Cell */
/**
 * @typedef {object} Reach  of the pinned key to the pinned query
 * @property {number[]|null} path  from the query to the key; null: not through so many layers
 * @property {number|null} needed  layers of the shortest path; null: there is none, or nobody asked for it
 * @property {Cell} cell
 * @property {number} length
 * @property {number} layers
 * @property {{layers: number, count: number}[]} counts  positions that reach the query
 */

const SLIDER = 32; // layers of the slider; the field takes as many as the server
const PIN = "Pin a cell of the matrix (click, or Enter) to see the path from its key to its query.";
const LIVE = 4096; // up to this length the matrix follows the slider while it moves

/** Return the numbers of layers that are counted up to the wanted one: 1, 2, 4, …. @param {number} layers */
function milestones(layers) {
  const out = [];
  for (let count = 1; count < layers; count *= 2) out.push(count);
  return [...out, Math.max(1, layers)];
}

/** @param {number} layers */
const layersText = (layers) => `${formatInteger(layers)} ${layers === 1 ? "layer" : "layers"}`;

/** @param {Reach} reach */
function makeCounts({ counts, length, cell }) {
  const rows = counts.map(({ layers, count }) => {
    const share = count / length;
    return [formatInteger(layers), makeFigure(makeBar(share), `${formatInteger(count)} (${formatPercent(share)})`)];
  });
  const heading = make("h3", "", `Positions that reach query ${formatInteger(cell.q)}`);
  return [heading, makeTable(["layers", ""], rows, "bars")];
}

/** @param {Reach} reach */
function makeVerdict({ path, needed, cell: { q, k }, layers }) {
  const heading = make("h3", "", `From key ${formatInteger(k)} to query ${formatInteger(q)}`);
  if (!path) {
    const more = needed ? ` It takes ${formatInteger(needed)}.` : "";
    return [heading, make("p", "verdict no", make("b", "", `✗ Not through ${layersText(layers)}.`), more)];
  }
  const steps = path.length - 1;
  const rest = steps < layers ? "; residual connections carry it on" : "";
  const text =
    steps === 0
      ? "✓ The position itself: the residual connection carries it."
      : `✓ In ${formatInteger(steps)} of ${layersText(layers)}${rest}.`;
  return [heading, make("p", "verdict yes", text), ...(steps ? [makePath(path)] : [])];
}

/**
 * Ask for the path from the pinned key to the pinned query, and for what reaches the query; null: no cell is pinned.
 * @param {App} app
 * @param {AbortSignal} signal
 * @returns {Promise<Reach|null>}
 */
async function askReach(app, signal) {
  const { layers, cell, length } = app.state.get();
  if (!cell) return null;
  const grid = app.grid();
  const [{ path }, ...rows] = await Promise.all([
    app.ask("path", { ...grid, layers, ...cell }, signal),
    ...milestones(layers).map((count) => app.ask("row", { ...grid, layers: count, q: cell.q }, signal)),
  ]);
  let shortest = path;
  if (!path && length <= LIVE) {
    shortest = (await app.ask("path", { ...grid, layers: ranges.layers.high, ...cell }, signal)).path;
  }
  return {
    path,
    needed: shortest ? shortest.length - 1 : null,
    cell,
    length,
    layers: Math.max(1, layers),
    counts: milestones(layers).map((count, index) => ({ layers: count, count: rows[index].count })),
  };
}

/**
 * Create the field and the slider of layers.
 * @param {App} app
 */
function createLayers(app) {
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "0", max: String(SLIDER), step: "1" });
  slider.setAttribute("aria-label", "Layers");
  /** @param {number} layers @param {boolean} [replace] */
  const go = (layers, replace = false) => app.state.set({ layers }, { replace });
  const field = makeNumberField({ ...ranges.layers, value: 0, act: (layers) => go(layers) });
  slider.addEventListener("input", () => {
    field.value = slider.value;
    if (app.state.get().length <= LIVE) go(Number(slider.value), true);
  });
  slider.addEventListener("change", () => go(Number(slider.value)));
  return {
    root: make("div", "transport", withLabel("layers", field), slider),
    /** @param {number} layers */
    show(layers) {
      slider.value = String(Math.min(layers, SLIDER));
      if (document.activeElement !== field) field.value = String(layers);
    },
  };
}

export const panel = {
  id: "depth",
  title: "Depth",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const controls = createLayers(app);
    const explanation = make("p", "hint");
    const body = make("div");
    root.append(make("h2", "", "Through many layers"), controls.root, explanation, notice, body);

    follow(app, "depth", [...GRID, "layers", "cell"], {
      notice,
      body,
      ask(signal) {
        const { layers } = app.state.get();
        controls.show(layers);
        explanation.textContent = layers
          ? `The matrix shows which position reaches which through ${layersText(layers)} with residual connections.`
          : "At 0 the matrix shows the mask itself. Move the slider: what a query sees has seen other keys before.";
        return askReach(app, signal);
      },
      show(reach) {
        body.replaceChildren(
          ...(reach
            ? [...makeVerdict(reach), ...makeCounts(reach)]
            : [make("p", "hint", PIN)]),
        );
      },
    });
  },
};
