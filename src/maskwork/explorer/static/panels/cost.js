// Cost: what attention under this mask computes, moves and keeps, against attention without one. Counted, not measured.
// @ts-check

import { bar, follow, GRID, labelled, made, noticePlace, numberField, percent, scaled, table, whole } from "./parts.js";

/** Name, text, least, most, default. @type {[string, string, number, number, number][]} */
const NUMBERS = [
  ["model_layers", "layers", 1, 1024, 32],
  ["query_heads", "query heads", 1, 1024, 32],
  ["kv_heads", "KV heads", 1, 1024, 8],
  ["head_dim", "head dim", 1, 4096, 128],
  ["block_size", "block size", 16, 4096, 128],
];
const DTYPES = ["float32", "bfloat16", "float16"];

/** A bar of a logarithmic scale. @param {number} value @param {number} most */
const logBar = (value, most) => bar(value > 0 ? Math.log10(1 + value) / Math.log10(1 + most) : 0);

export const panel = {
  id: "cost",
  title: "Cost",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const notice = noticePlace();
    const body = made("div");
    const fields = made("div", "fields even");
    const kept = () => app.state.get().p.cost ?? {};
    /** @type {(() => void)[]} */
    const shows = [];
    /** @type {Record<string, string>} */
    let usual = {};
    for (const [name, text, low, high, value] of NUMBERS) {
      const field = numberField({
        low,
        high,
        value,
        act: (next) => app.state.remember("cost", { [name]: String(next) }),
      });
      shows.push(() => {
        if (document.activeElement !== field) field.value = kept()[name] ?? usual[name] ?? String(value);
      });
      fields.append(labelled(text, field));
    }
    const dtype = made("select", "", ...DTYPES.map((name) => made("option", "", name)));
    dtype.addEventListener("change", () => app.state.remember("cost", { dtype: dtype.value }));
    shows.push(() => (dtype.value = DTYPES.includes(kept().dtype) ? kept().dtype : "bfloat16"));
    fields.append(labelled("dtype", dtype));
    root.append(made("h2", "", "What this mask costs"), fields, notice, body);

    /** @param {any} cost @param {any} facts */
    function show(cost, facts) {
      const density = facts.cells ? facts.allowed / facts.cells : 0;
      const most = Math.max(cost.dense_flops, 1);
      const largest = Math.max(...cost.storage.map((/** @type {{bytes: number}} */ { bytes }) => bytes), 1);
      /** @param {number} flops */
      const part = (flops) => percent(flops / most);
      body.replaceChildren(
        table(
          [],
          [
            ["allowed pairs", `${whole(facts.allowed)} of ${whole(facts.cells)}`],
            ["density", percent(density)],
            ["Q, K, V and outputs moved", `${scaled(cost.bytes_moved, "B", 1024)}, ${cost.intensity.toFixed(0)} FLOP per byte`],
          ],
          "plain",
        ),
        made("h3", "", "FLOPs of attention (QKᵀ and AV), forward, all layers"),
        table(
          ["", "", "of dense"],
          [
            ["no mask", figure(bar(1), scaled(cost.dense_flops, "FLOP")), "100 %"],
            [
              "in blocks",
              figure(bar(cost.block_flops / most), scaled(cost.block_flops, "FLOP")),
              part(cost.block_flops),
            ],
            ["allowed alone", figure(bar(cost.flops / most), scaled(cost.flops, "FLOP")), part(cost.flops)],
          ],
          "bars",
        ),
        made("h3", "", "Work that blocks waste on forbidden pairs"),
        table(
          ["block", ""],
          cost.waste.map((/** @type {{block_size: number, waste: number}} */ { block_size: size, waste }) => [
            String(size),
            figure(bar(waste, "leak"), percent(waste)),
          ]),
          "bars",
        ),
        made("h3", "", "KV cache, all layers"),
        table(
          [],
          [
            ["all kept", figure(bar(1), scaled(cost.cache_bytes, "B", 1024))],
            [
              "evicting",
              figure(
                bar(cost.cache_bytes_kept / Math.max(cost.cache_bytes, 1)),
                scaled(cost.cache_bytes_kept, "B", 1024),
              ),
            ],
          ],
          "bars",
        ),
        made("h3", "", "What the mask itself takes (logarithmic bars)"),
        table(
          [],
          cost.storage.map((/** @type {{name: string, bytes: number}} */ { name, bytes }) => [
            name,
            figure(logBar(bytes, largest), scaled(bytes, "B", 1024)),
          ]),
          "bars long",
        ),
      );
    }

    /** @param {HTMLElement} drawn @param {string} text */
    const figure = (drawn, text) => made("span", "figure", drawn, made("span", "", text));

    const again = follow(app, "cost", GRID, {
      notice,
      body,
      length: 4096,
      async ask(signal) {
        const facts = await app.ask("describe", app.grid(), signal);
        // A mask that speaks of heads is asked of as many, until another number is written.
        const heads = facts.shape[1];
        usual = heads > 1 ? { query_heads: String(heads), kv_heads: String(heads) } : {};
        for (const one of shows) one();
        const names = [...NUMBERS.map(([name]) => name), "dtype"];
        const numbers = { ...usual, ...Object.fromEntries(names.flatMap((name) => (kept()[name] ? [[name, kept()[name]]] : []))) };
        return [await app.ask("cost", { ...app.grid(), ...numbers }, signal), facts];
      },
      show: ([cost, facts]) => show(cost, facts),
    });
    app.state.on(["p"], (state, before) => state.p.cost !== before.p.cost && again());
  },
};
