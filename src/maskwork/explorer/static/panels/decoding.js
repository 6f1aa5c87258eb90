// What training and decoding do under a mask, counted from its cells.
// @ts-check

/** @typedef {import("./follow.js").Cells} Cells */
/** @typedef {"scored"|"leak"|"none"} Label  leak: scored, and the row sees the very token that it is to predict */
/**
 * @typedef {object} Step  of decoding
 * @property {number} fresh  pairs of this step without a cache
 * @property {number} cached  pairs of this step with a cache
 * @property {number} freshSum  of all steps up to this one
 * @property {number} cachedSum
 * @property {number} storedAll  entries of a cache that stores every key
 * @property {number} storedEvicting  entries of a cache that drops a key after its last query
 */

/**
 * Return what the label of each row, the next token, counts for.
 * @param {Cells} cells
 * @returns {Label[]}
 */
export function labelsOf({ rows, documents, q_start: first }) {
  const length = rows[0]?.length ?? 0;
  return rows.map((row, index) => {
    const next = first + index + 1;
    const inside = next < length && (!documents || (documents[next] >= 0 && documents[next] === documents[next - 1]));
    return inside ? (row[next] === "1" ? "leak" : "scored") : "none";
  });
}

/**
 * Count the keys of a row that exist at a time and are seen.
 * @param {string} row
 * @param {number} time
 */
export const keysSeen = (row, time) => row.slice(0, time + 1).replaceAll("0", "").length;

/**
 * Count the work of decoding, and what its cache holds, step by step.
 * @param {Cells} cells
 * @returns {Step[]}
 */
export function stepsOf({ rows, last_seen: last, q_start: first }) {
  let [freshSum, cachedSum] = [0, 0];
  return rows.map((row, index) => {
    const time = first + index;
    const cached = keysSeen(row, time);
    const fresh = rows.slice(0, index + 1).reduce((sum, one) => sum + keysSeen(one, time), 0);
    freshSum += fresh;
    cachedSum += cached;
    const storedAll = Math.min(time + 1, last.length);
    const storedEvicting = last.slice(0, storedAll).filter((end) => end >= time).length;
    return { fresh, cached, freshSum, cachedSum, storedAll, storedEvicting };
  });
}

/**
 * Return whether any row sees a key that decoding has not made yet.
 * @param {Cells} cells
 */
export const seesAhead = ({ rows, q_start: first }) =>
  rows.some((row, index) => row.slice(first + index + 1).includes("1"));
