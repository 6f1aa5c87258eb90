// The path by which a key reaches a query, drawn layer over layer: the key at the bottom, the query at the top.
// @ts-check

import { formatInteger } from "../format.js";
import { makeSvg } from "./parts.js";

const WIDE = 460;
const NAMES = 70; // for the names of the layers
const DIGIT = 7.5; // of a position's number
const RADIUS = { named: 5, small: 2 };

/**
 * @typedef {object} Layout
 * @property {number[]} path  positions from the query down to the key
 * @property {number} left  first pixel of the layers
 * @property {number} right  last pixel
 * @property {number} high
 * @property {boolean} named  there is room for every name
 * @property {(position: number) => number} x
 * @property {(step: number) => number} y
 */

/** @param {number[]} path @returns {Layout} */
function layOut(path) {
  const steps = path.length - 1;
  const gap = Math.max(4, Math.min(44, 620 / Math.max(steps, 1)));
  const [least, most] = [Math.min(...path), Math.max(...path)];
  // room for a position's number, on the sides where some stop has it
  const room = 12 + DIGIT * formatInteger(most).length;
  const numbersOnLeft = path.some((position, step) => step > 0 && position > path[step - 1]);
  const [left, right] = [NAMES + (numbersOnLeft ? room : 0), WIDE - room];
  return {
    path, left, right,
    high: steps * gap + 48,
    named: gap >= 16,
    x: (position) => left + ((position - least) / Math.max(most - least, 1)) * (right - left),
    y: (step) => 24 + step * gap,
  };
}

/** @param {Layout} layout @param {number} step */
const isNamed = ({ named, path }, step) => named || step === 0 || step === path.length - 1;

/** The line of a layer, with its name. @param {Layout} layout @param {number} step */
function makeLayer(layout, step) {
  const { path, left, right, y } = layout;
  const parts = [makeSvg("line", { x1: left - 8, x2: right + 8, y1: y(step), y2: y(step), class: "layer" })];
  if (isNamed(layout, step)) {
    const last = path.length - 1;
    const name = step === last ? "input" : `layer ${last - step}`;
    parts.push(makeSvg("text", { x: 0, y: y(step) + 4, class: "name" }, name));
  }
  return parts;
}

/** The arrow from the stop below to a stop, a little shorter than between their middles. @param {Layout} layout
 * @param {number} step */
function makeHop({ path, named, x, y }, step) {
  const [x1, y1, x2, y2] = [x(path[step + 1]), y(step + 1), x(path[step]), y(step)];
  const distance = Math.hypot(x2 - x1, y2 - y1);
  const cut = Math.min(7, distance / 3) / distance;
  return makeSvg("line", {
    x1: x1 - (x1 - x2) * cut,
    y1: y1 - (y1 - y2) * cut,
    x2: x2 + (x1 - x2) * cut,
    y2: y2 + (y1 - y2) * cut,
    class: "hop",
    ...(named ? { "marker-end": "url(#arrow)" } : {}),
  });
}

/** A stop, with its position below, on the side that the hop from it leaves free. @param {Layout} layout
 * @param {number} step */
function makeStop(layout, step) {
  const { path, named, x, y } = layout;
  const position = path[step];
  const radius = named ? RADIUS.named : RADIUS.small;
  const parts = [makeSvg("circle", { cx: x(position), cy: y(step), r: radius, class: "stop" })];
  if (isNamed(layout, step)) {
    const onRight = step > 0 ? path[step - 1] >= position : position >= (path[1] ?? position);
    const place = { x: x(position) + (onRight ? 7 : -7), y: y(step) + 16, "text-anchor": onRight ? "start" : "end" };
    parts.push(makeSvg("text", { ...place, class: "at" }, formatInteger(position)));
  }
  return parts;
}

function makeArrowHead() {
  return makeSvg(
    "marker",
    { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    makeSvg("path", { d: "M0 0L8 4L0 8z", class: "arrow" }),
  );
}

/**
 * Draw a path.
 * @param {number[]} path positions from the query down to the key
 */
export function makePath(path) {
  const layout = layOut(path);
  const last = path.length - 1;
  const title = `From key ${path[last]} up to query ${path[0]}: ${[...path].reverse().join(", ")}`;
  return makeSvg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${layout.high}`, class: "path", role: "img" },
    makeSvg("title", {}, title),
    makeSvg("defs", {}, makeArrowHead()),
    ...path.flatMap((_, step) => [...makeLayer(layout, step), ...(step < last ? [makeHop(layout, step)] : [])]),
    ...path.flatMap((_, step) => makeStop(layout, step)),
  );
}
