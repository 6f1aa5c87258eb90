// Depth: what reaches what through several layers, and the path by which the pinned key gets to the pinned query.
// @ts-check

import { bar, drawn, follow, GRID, labelled, made, noticePlace, numberField, percent, table, whole } from "./parts.js";

const SLIDER = 32; // layers within easy reach; the field takes any number that the server does
const MOST = 1024; // layers that the server follows
const LIVE = 4096; // up to this length the matrix follows the slider while it moves
const WIDE = 460;
const NAMES = 70; // what the names of the layers take
const DIGIT = 7.5;

/** Layers that are counted on the way to the asked one: 1, 2, 4, …. @param {number} layers */
function milestones(layers) {
  const out = [];
  for (let at = 1; at < layers; at *= 2) out.push(at);
  return [...out, Math.max(1, layers)];
}

/** @param {number} layers */
const counted = (layers) => `${whole(layers)} ${layers === 1 ? "layer" : "layers"}`;

/** The path, the key's layer below and the query's on top. @param {number[]} path from the query to the key */
function picture(path) {
  const steps = path.length - 1;
  const gap = Math.max(4, Math.min(44, 620 / Math.max(steps, 1)));
  const high = steps * gap + 48;
  const [least, most] = [Math.min(...path), Math.max(...path)];
  // room for a position's number, on the sides where some stop has it
  const room = 12 + DIGIT * whole(most).length;
  const leftwards = path.some((position, step) => step > 0 && position > path[step - 1]);
  const [left, edge] = [NAMES + (leftwards ? room : 0), room];
  /** @param {number} position */
  const x = (position) => left + ((position - least) / Math.max(most - least, 1)) * (WIDE - left - edge);
  /** @param {number} step */
  const y = (step) => 24 + step * gap;
  const named = gap >= 16;
  const out = drawn("svg", { viewBox: `0 0 ${WIDE} ${high}`, class: "path", role: "img" });
  const head = drawn(
    "marker",
    { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    drawn("path", { d: "M0 0L8 4L0 8z", class: "arrow" }),
  );
  out.append(
    drawn("title", {}, `From key ${path[steps]} up to query ${path[0]}: ${[...path].reverse().join(", ")}`),
    drawn("defs", {}, head),
  );
  path.forEach((position, step) => {
    out.append(drawn("line", { x1: left - 8, x2: WIDE - edge + 8, y1: y(step), y2: y(step), class: "layer" }));
    if (named || step === 0 || step === steps) {
      const name = step === steps ? "input" : `layer ${steps - step}`;
      out.append(drawn("text", { x: 0, y: y(step) + 4, class: "name" }, name));
    }
    if (step < steps) {
      const [x1, y1, x2, y2] = [x(path[step + 1]), y(step + 1), x(position), y(step)];
      const far = Math.hypot(x2 - x1, y2 - y1);
      const short = Math.min(7, far / 3) / far;
      out.append(
        drawn("line", {
          x1: x1 - (x1 - x2) * short,
          y1: y1 - (y1 - y2) * short,
          x2: x2 + (x1 - x2) * short,
          y2: y2 + (y1 - y2) * short,
          class: "hop",
          ...(named ? { "marker-end": "url(#arrow)" } : {}),
        }),
      );
    }
  });
  path.forEach((position, step) => {
    out.append(drawn("circle", { cx: x(position), cy: y(step), r: named ? 5 : 2, class: "stop" }));
    if (named || step === 0 || step === steps) {
      // below the stop, on the side that the hop from it leaves free
      const right = step > 0 ? path[step - 1] >= position : position >= (path[1] ?? position);
      out.append(
        drawn(
          "text",
          { x: x(position) + (right ? 7 : -7), y: y(step) + 16, class: "at", "text-anchor": right ? "start" : "end" },
          whole(position),
        ),
      );
    }
  });
  return out;
}

export const panel = {
  id: "depth",
  title: "Depth",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const notice = noticePlace();
    const slider = made("input");
    Object.assign(slider, { type: "range", min: "0", max: String(SLIDER), step: "1" });
    slider.setAttribute("aria-label", "Layers");
    /** @param {number} layers @param {boolean} [replace] */
    const go = (layers, replace = false) => app.state.set({ layers }, { replace });
    const field = numberField({ low: 0, high: MOST, value: 0, act: (layers) => go(layers) });
    const said = made("p", "hint");
    slider.addEventListener("input", () => {
      field.value = slider.value;
      if (app.state.get().length <= LIVE) go(Number(slider.value), true);
    });
    slider.addEventListener("change", () => go(Number(slider.value)));
    const body = made("div");
    root.append(
      made("h2", "", "Through many layers"),
      made("div", "transport", labelled("layers", field), slider),
      said,
      notice,
      body,
    );

    /** @param {{layers: number, count: number}[]} counts @param {number} length @param {number} q */
    function reached(counts, length, q) {
      return [
        made("h3", "", `Positions that reach query ${whole(q)}`),
        table(
          ["layers", ""],
          counts.map(({ layers, count }) => [
            whole(layers),
            made(
              "span",
              "figure",
              bar(count / length),
              made("span", "", `${whole(count)} (${percent(count / length)})`),
            ),
          ]),
          "bars",
        ),
      ];
    }

    /** @param {number[]|null} path @param {number|null} first layers of the shortest path, if it was looked for
     * @param {import("../state.js").Cell} cell @param {number} layers */
    function way(path, first, { q, k }, layers) {
      const heading = made("h3", "", `From key ${whole(k)} to query ${whole(q)}`);
      const many = counted(layers);
      if (!path) {
        const later = first ? ` It takes ${whole(first)}.` : "";
        return [heading, made("p", "verdict no", made("b", "", `✗ Not through ${many}.`), later)];
      }
      const steps = path.length - 1;
      const text =
        steps === 0
          ? "✓ The position itself: the residual connection carries it."
          : `✓ In ${whole(steps)} of ${many}${steps < layers ? "; residual connections carry it on" : ""}.`;
      return [heading, made("p", "verdict yes", text), ...(steps ? [picture(path)] : [])];
    }

    follow(app, "depth", [...GRID, "layers", "cell"], {
      notice,
      body,
      async ask(signal) {
        const { layers, cell, length } = app.state.get();
        slider.value = String(Math.min(layers, SLIDER));
        if (document.activeElement !== field) field.value = String(layers);
        said.textContent = layers
          ? `The matrix shows which position reaches which through ${counted(layers)} with residual connections.`
          : "At 0 the matrix shows the mask itself. Move the slider: what a query sees has seen other keys before.";
        if (!cell) return null;
        const grid = app.grid();
        const [{ path }, ...rows] = await Promise.all([
          app.ask("path", { ...grid, layers, ...cell }, signal),
          ...milestones(layers).map((many) => app.ask("row", { ...grid, layers: many, q: cell.q }, signal)),
        ]);
        const whole = path || length > LIVE ? path : (await app.ask("path", { ...grid, layers: MOST, ...cell }, signal)).path;
        return {
          path,
          first: whole ? whole.length - 1 : null,
          cell,
          length,
          layers: Math.max(1, layers),
          counts: milestones(layers).map((many, at) => ({ layers: many, count: rows[at].count })),
        };
      },
      show(found) {
        body.replaceChildren(
          ...(found
            ? [...way(found.path, found.first, found.cell, found.layers), ...reached(found.counts, found.length, found.cell.q)]
            : [
                made(
                  "p",
                  "hint",
                  "Pin a cell of the matrix (click, or Enter) to see the path from its key to its query.",
                ),
              ]),
        );
      },
    });
  },
};
