// The numbers of one attention head, small enough to show, and its softmax in float32 as a kernel computes it.
// @ts-check

const DIM = 4;
const FLOAT_MIN = -3.4028234663852886e38; // torch.finfo(torch.float32).min
const f = Math.fround;

/** What is added to the scores of masked keys; "none" masks nothing. @type {Record<string, number>} */
export const FILLS = { "-inf": -Infinity, min: FLOAT_MIN, "-1e9": -1e9, "-1": -1, none: 0 };

/** A number in [0, 1) that is always the same for the same arguments (an integer hash, then mixed again).
 * @param {number} seed @param {number} stream @param {number} index */
function hash(seed, stream, index) {
  let x = (seed * 0x9e3779b1 + stream * 0x85ebca6b + index * 0xc2b2ae35 + 0x27d4eb2f) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * Return the vector of a position: numbers in [-2, 2] with one decimal, the same at any length.
 * @param {number} seed
 * @param {"q"|"k"|"v"} kind
 * @param {number} position
 */
export function vector(seed, kind, position) {
  const stream = { q: 1, k: 2, v: 3 }[kind];
  return Array.from({ length: DIM }, (_, i) => f(Math.round(hash(seed, stream, position * DIM + i) * 40 - 20) / 10));
}

/**
 * @typedef {object} Steps  of a softmax; each list has a number for every key
 * @property {number[]} scores  q . k / sqrt(d)
 * @property {number[]} masked
 * @property {number} max
 * @property {number[]} shifted  minus the largest
 * @property {number[]} exps
 * @property {number} sum
 * @property {number[]} weights
 * @property {number[]} output  weights times V
 * @property {number} leak  weight on keys that the mask forbids; NaN where the weights are
 */

/**
 * Compute attention of one query, step by step.
 * @param {number} seed
 * @param {number} query
 * @param {boolean[]} allowed for each key
 * @param {number} fill added to masked scores
 * @returns {Steps}
 */
export function attend(seed, query, allowed, fill) {
  const q = vector(seed, "q", query);
  const scores = allowed.map((_, key) => {
    const k = vector(seed, "k", key);
    return f(q.reduce((sum, value, i) => f(sum + f(value * k[i])), 0) / Math.sqrt(DIM));
  });
  const masked = scores.map((score, key) => (allowed[key] ? score : f(score + fill)));
  const max = Math.max(...masked);
  const shifted = masked.map((score) => f(score - max));
  const exps = shifted.map((score) => f(Math.exp(score)));
  const sum = exps.reduce((total, value) => f(total + value), 0);
  const weights = exps.map((value) => f(value / sum));
  const output = Array.from({ length: DIM }, (_, i) =>
    weights.reduce((total, weight, key) => f(total + f(weight * vector(seed, "v", key)[i])), 0),
  );
  const leak = weights.reduce((total, weight, key) => (allowed[key] ? total : total + weight), 0);
  return { scores, masked, max, shifted, exps, sum, weights, output, leak };
}

/**
 * Compute the output of mw.attention: an exact -inf, and 0 for a row that may see no key.
 * @param {number} seed
 * @param {number} query
 * @param {boolean[]} allowed
 */
export const exactOutput = (seed, query, allowed) =>
  allowed.some(Boolean) ? attend(seed, query, allowed, -Infinity).output : Array.from({ length: DIM }, () => 0);

/**
 * Write a number so that it fits a narrow column.
 * @param {number} value
 */
export function formatNumber(value) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  if (value === 0) return "0"; // exactly, unlike 0.000 for a small number
  const size = Math.abs(value);
  const text = size >= 1e4 || (size > 0 && size < 5e-4) ? size.toExponential(1) : size.toFixed(3);
  return value < 0 ? `−${text}` : text;
}

/**
 * Write the numbers of a vector.
 * @param {number[]} values
 */
export const formatVector = (values) => `[${values.map((value) => formatNumber(value)).join(" ")}]`;
