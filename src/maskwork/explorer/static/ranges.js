// The range of each integer that the server accepts, read from the server's description: no bound is written twice.
// @ts-check

// Part of the module graph, not a later request: the page is not shown as loaded before its fields have their bounds.
// @ts-expect-error the server answers under this address; it is no file
import description from "/api/openapi.json" with { type: "json" };

/** @typedef {{low: number, high: number}} Range  both ends included */
/**
 * @typedef {"length"|"q_len"|"q_start"|"batch"|"heads"|"b"|"h"|"layers"|"shrink"|"model_layers"|"query_heads"
 *   |"kv_heads"|"head_dim"|"block_size"} RangeName  a parameter of the server's questions
 */

/** @returns {Record<RangeName, Range>} */
function readRanges() {
  /** @type {Record<string, Range>} */
  const ranges = {};
  for (const { get } of Object.values(description.paths)) {
    for (const { name, schema } of get?.parameters ?? []) {
      if (schema.type === "integer") ranges[name] = { low: schema.minimum, high: schema.maximum };
    }
  }
  return ranges;
}

/** The range of each parameter that is an integer, by its name. */
export const ranges = readRanges();
