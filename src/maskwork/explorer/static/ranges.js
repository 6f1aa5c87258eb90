// The range of each whole number that the server accepts, read from the server's own description: no bound is written twice.
// @ts-check

/** @typedef {{low: number, high: number}} Range  both ends included */
/**
 * @typedef {"length"|"q_len"|"q_start"|"batch"|"heads"|"b"|"h"|"layers"|"shrink"|"model_layers"|"query_heads"
 *   |"kv_heads"|"head_dim"|"block_size"} RangeName  a parameter of the server's questions
 */

/**
 * Return the ranges of all parameters in an OpenAPI description.
 * @param {any} description
 * @returns {Record<RangeName, Range>}
 */
export function rangesOf(description) {
  /** @type {Record<string, Range>} */
  const ranges = {};
  for (const { get } of Object.values(description.paths)) {
    for (const { name, schema } of get?.parameters ?? []) {
      if (schema.type === "integer") ranges[name] = { low: schema.minimum, high: schema.maximum };
    }
  }
  return ranges;
}

/** The modules that import this one run after the server has answered. */
export const ranges = rangesOf(await (await fetch("/api/openapi.json")).json());
