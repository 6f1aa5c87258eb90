// The line of facts above the matrix: how many pairs the mask allows, on which grid.
// @ts-check

import { formatInteger } from "./format.js";

/** @typedef {{allowed: number, cells: number, shape: number[], empty_rows: number}} Facts  the answer to `describe` */

/**
 * Return the facts of a mask as a sentence.
 * @param {Facts} facts
 * @param {string} [layers] through which the pairs are reached
 */
export function describeMask({ allowed, cells, shape: [batch, heads, q, k], empty_rows: empty }, layers) {
  const percent = cells ? (allowed / cells) * 100 : 0;
  const share = percent < 0.01 && percent > 0 ? percent.toExponential(1) : percent.toFixed(percent < 1 ? 3 : 1);
  const planes = batch * heads > 1 ? ` for each of ${batch} × ${heads} (batch × heads)` : "";
  const emptyRows = empty ? `, ${formatInteger(empty)} empty ${empty === 1 ? "row" : "rows"}` : "";
  const verb = layers ? `reached through ${layers} ${layers === "1" ? "layer" : "layers"}` : "allowed";
  return (
    `${formatInteger(allowed)} of ${formatInteger(cells)} pairs ${verb} (${share} %), ` +
    `${formatInteger(q)} × ${formatInteger(k)}${planes}${emptyRows}; queries\u00a0↓, keys\u00a0→`
  );
}
