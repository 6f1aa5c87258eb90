// Cost: what attention under this mask computes, moves and stores, beside unmasked attention. Counted, not measured.
// @ts-check

import { formatInteger, formatPercent, formatUnit } from "../format.js";
import { ranges } from "../ranges.js";
import { follow, GRID } from "./follow.js";
import { make, makeBar, makeFigure, makeNotice, makeNumberField, makeTable, withLabel } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {"model_layers"|"query_heads"|"kv_heads"|"head_dim"|"block_size"} NumberName */
/** @typedef {{allowed: number, cells: number, shape: number[]}} Facts  the answer to `describe` */
/**
 * @typedef {object} Cost  the answer to `cost`
 * @property {number} flops
 * @property {number} block_flops
 * @property {number} dense_flops
 * @property {number} bytes_moved
 * @property {number} intensity
 * @property {number} cache_bytes
 * @property {number} cache_bytes_kept
 * @property {{block_size: number, waste: number}[]} waste
 * @property {{name: string, bytes: number}[]} storage
 */

/** Name, label and first value of each number. @type {[NumberName, string, number][]} */
const NUMBERS = [
  ["model_layers", "layers", 32],
  ["query_heads", "query heads", 32],
  ["kv_heads", "KV heads", 8],
  ["head_dim", "head dim", 128],
  ["block_size", "block size", 128],
];
const DTYPES = ["float32", "bfloat16", "float16"];
const DTYPE = "bfloat16";
const SHORTER = 4096; // the length that is offered where the state's is too long

/** @param {number} bytes */
const formatBytes = (bytes) => formatUnit(bytes, "B", 1024);

/** A bar on a logarithmic scale. @param {number} value @param {number} most */
const makeLogBar = (value, most) => makeBar(value > 0 ? Math.log10(1 + value) / Math.log10(1 + most) : 0);

/** @param {Cost} cost @param {Facts} facts */
function makePairs(cost, { allowed, cells }) {
  const rows = [
    ["allowed pairs", `${formatInteger(allowed)} of ${formatInteger(cells)}`],
    ["density", formatPercent(cells ? allowed / cells : 0)],
    ["Q, K, V and outputs moved", `${formatBytes(cost.bytes_moved)}, ${cost.intensity.toFixed(0)} FLOP per byte`],
  ];
  return makeTable([], rows, "plain");
}

/** @param {Cost} cost */
function makeFlops({ flops, block_flops: blockFlops, dense_flops: denseFlops }) {
  /** @param {string} name @param {number} value */
  const line = (name, value) => {
    const share = value / Math.max(denseFlops, 1);
    return [name, makeFigure(makeBar(share), formatUnit(value, "FLOP")), formatPercent(share)];
  };
  const dense = ["no mask", makeFigure(makeBar(1), formatUnit(denseFlops, "FLOP")), "100 %"];
  return makeTable(["", "", "of dense"], [dense, line("in blocks", blockFlops), line("allowed alone", flops)], "bars");
}

/** @param {Cost} cost */
function makeWaste({ waste }) {
  const rows = waste.map(({ block_size: size, waste: share }) => [
    String(size),
    makeFigure(makeBar(share, "leak"), formatPercent(share)),
  ]);
  return makeTable(["block", ""], rows, "bars");
}

/** @param {Cost} cost */
function makeCache({ cache_bytes: all, cache_bytes_kept: evicting }) {
  const rows = [
    ["all kept", makeFigure(makeBar(1), formatBytes(all))],
    ["evicting", makeFigure(makeBar(evicting / Math.max(all, 1)), formatBytes(evicting))],
  ];
  return makeTable([], rows, "bars");
}

/** @param {Cost} cost */
function makeStorage({ storage }) {
  const largest = Math.max(...storage.map(({ bytes }) => bytes), 1);
  const rows = storage.map(({ name, bytes }) => [name, makeFigure(makeLogBar(bytes, largest), formatBytes(bytes))]);
  return makeTable([], rows, "bars long");
}

/** @param {Cost} cost @param {Facts} facts */
const makeTables = (cost, facts) => [
  makePairs(cost, facts),
  make("h3", "", "FLOPs of attention (QKᵀ and AV), forward, all layers"),
  makeFlops(cost),
  make("h3", "", "Work that blocks waste on forbidden pairs"),
  makeWaste(cost),
  make("h3", "", "KV cache, all layers"),
  makeCache(cost),
  make("h3", "", "What the mask itself takes (logarithmic bars)"),
  makeStorage(cost),
];

/**
 * Create the fields of the model. A number that was not written is the mask's own where the mask has heads, otherwise
 * the first value.
 * @param {App} app
 */
function createFields(app) {
  const root = make("div", "fields even");
  const written = () => app.state.get().p.cost ?? {};
  /** @type {Record<string, string>} */
  let headsOfMask = {};
  /** @type {Record<string, string>} */
  const defaults = { ...Object.fromEntries(NUMBERS.map(([name, , value]) => [name, String(value)])), dtype: DTYPE };
  const fields = NUMBERS.map(([name, text, value]) => {
    const act = (/** @type {number} */ next) => app.state.remember("cost", { [name]: String(next) });
    const field = makeNumberField({ ...ranges[name], value, act });
    root.append(withLabel(text, field));
    return { name, field };
  });
  const dtype = make("select", "", ...DTYPES.map((name) => make("option", "", name)));
  dtype.addEventListener("change", () => app.state.remember("cost", { dtype: dtype.value }));
  root.append(withLabel("dtype", dtype));

  /** What is asked; a number of the address is sent as it is, for the server to refuse. */
  const values = () => {
    const entries = Object.entries(written()).filter(([name, value]) => value && Object.hasOwn(defaults, name));
    return { ...defaults, ...headsOfMask, ...Object.fromEntries(entries) };
  };
  return {
    root,
    values,
    /** Take the heads of a mask that has several, and show all numbers. @param {number} heads */
    show(heads) {
      headsOfMask = heads > 1 ? { query_heads: String(heads), kv_heads: String(heads) } : {};
      const shown = values();
      for (const { name, field } of fields) if (document.activeElement !== field) field.value = shown[name];
      dtype.value = DTYPES.includes(shown.dtype) ? shown.dtype : DTYPE;
    },
  };
}

export const panel = {
  id: "cost",
  title: "Cost",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const body = make("div");
    const fields = createFields(app);
    root.append(make("h2", "", "What this mask costs"), fields.root, notice, body);

    const askAgain = follow(app, "cost", GRID, {
      notice,
      body,
      length: SHORTER,
      /** @returns {Promise<[Cost, Facts]>} */
      async ask(signal) {
        const facts = await app.ask("describe", app.grid(), signal);
        fields.show(facts.shape[1]);
        return [await app.ask("cost", { ...app.grid(), ...fields.values() }, signal), facts];
      },
      show: ([cost, facts]) => body.replaceChildren(...makeTables(cost, facts)),
    });
    app.state.on(["p"], (state, previous) => state.p.cost !== previous.p.cost && askAgain());
  },
};
