// What training and decoding do under a mask, counted from its cells.
// @ts-check

/** @typedef {import("./parts.js").Cells} Cells */
/** @typedef {"scored"|"leak"|"none"} Label  leak: scored, and the row sees the very token that it is to predict */
/** @typedef {{fresh: number, cached: number, freshSum: number, cachedSum: number, held: number, kept: number}} Step */

/** What each row's label, the next token, counts for. @param {Cells} cells @returns {Label[]} */
export function labels({ rows, documents, q_start: first }) {
  const length = rows[0]?.length ?? 0;
  return rows.map((row, at) => {
    const next = first + at + 1;
    const inside = next < length && (!documents || (documents[next] >= 0 && documents[next] === documents[next - 1]));
    return inside ? (row[next] === "1" ? "leak" : "scored") : "none";
  });
}

/** Keys of a row that exist by a time. @param {string} row @param {number} time */
const seenBy = (row, time) => [...row.slice(0, time + 1)].filter((cell) => cell === "1").length;

/** Decoding step by step: pairs computed anew and from a cache, and what the cache holds while the step reads it.
 * @param {Cells} cells @returns {Step[]} */
export function decode({ rows, last_seen: last, q_start: first }) {
  let [freshSum, cachedSum] = [0, 0];
  return rows.map((row, at) => {
    const time = first + at;
    const cached = seenBy(row, time);
    const fresh = rows.slice(0, at + 1).reduce((sum, one) => sum + seenBy(one, time), 0);
    freshSum += fresh;
    cachedSum += cached;
    const held = Math.min(time + 1, last.length);
    return { fresh, cached, freshSum, cachedSum, held, kept: last.slice(0, held).filter((end) => end >= time).length };
  });
}

/** Whether any row sees a key that decoding has not made yet. @param {Cells} cells */
export const seesAhead = ({ rows, q_start: first }) => rows.some((row, at) => row.slice(first + at + 1).includes("1"));
