// Questions to the server. While it does not answer they wait, and are asked again when it is back.
// @ts-check

/** @typedef {import("./state.js").State} State */
/** @typedef {Uint8Array|Uint16Array|Uint32Array|Float64Array} Counts */

export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The parameters that say mask, grid and plane; layers while their panel is open. @param {Readonly<State>} state @returns {Record<string, string>} */
export function grid(state) {
  /** @type {Record<string, string>} */
  const out = { mask: state.mask };
  if (state.qLen !== null) {
    out.kv_len = String(state.length);
    out.q_len = String(state.qLen);
  } else {
    out.length = String(state.length);
  }
  if (state.qStart !== null) out.q_start = String(state.qStart);
  if (state.batch !== null) out.batch = String(state.batch);
  if (state.heads !== null) out.heads = String(state.heads);
  if (state.layers && state.panel === "depth") out.layers = String(state.layers);
  if (state.b) out.b = String(state.b);
  if (state.h) out.h = String(state.h);
  return out;
}

const TOKEN = "maskwork-token";
let launch = "";

function shownToken() {
  try {
    return launch || (sessionStorage.getItem(TOKEN) ?? "");
  } catch {
    return launch;
  }
}

/** Take the launch's token off the address, so that no shared link carries it. */
export function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (!found) return;
  launch = found[1];
  try {
    sessionStorage.setItem(TOKEN, launch); // for when the page is loaded again
  } catch {
    // a browser that keeps nothing for pages in frames
  }
  history.replaceState(null, "", location.pathname + location.search);
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {(away: boolean) => void} onAway told when the server stops answering, and when it is back */
export function createApi(onAway) {
  /** @type {Promise<void>|null} */
  let returning = null;

  async function comeBack() {
    onAway(true);
    for (let wait = 250; ; wait = Math.min(wait * 1.5, 3000)) {
      await pause(wait);
      try {
        if ((await fetch("/api/health", { cache: "no-store" })).ok) break;
      } catch {
        // still away
      }
    }
    onAway(false);
    returning = null;
  }

  /** @param {string} path @param {RequestInit} how @returns {Promise<Response>} */
  async function request(path, how) {
    for (;;) {
      let response;
      try {
        response = await fetch(path, how);
      } catch (error) {
        if (how.signal?.aborted) throw error;
        await (returning ??= comeBack());
        continue;
      }
      if (response.ok) return response;
      const body = await response.json().catch(() => ({}));
      throw new ApiError(body.error ?? `the server answered ${response.status}`, response.status);
    }
  }

  return {
    /** @param {string} question @param {Record<string, string|number>} parameters @param {AbortSignal} [signal]
     * @returns {Promise<any>} */
    async ask(question, parameters, signal) {
      const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
      return (await request(`/api/${question}?${query}`, { signal })).json();
    },
    /** Allowed pairs under each pixel: one plane, or with an `other` mask three.
     * @param {{rows: number, columns: number, other?: string, [name: string]: string|number|undefined}} parameters
     * @param {AbortSignal} [signal] @returns {Promise<Counts[]>} */
    async askTile(parameters, signal) {
      const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
      const found = await (await request(`/api/tile?${query}`, { signal })).arrayBuffer();
      const planes = parameters.other ? 3 : 1;
      const pixels = parameters.rows * parameters.columns;
      const kinds = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: Float64Array };
      const all = new kinds[/** @type {keyof typeof kinds} */ (found.byteLength / (planes * pixels))](found);
      return Array.from({ length: planes }, (_, at) => all.subarray(at * pixels, (at + 1) * pixels));
    },
    /** What reads files needs the launch's token. @param {string} question @param {object} body
     * @returns {Promise<any>} */
    async load(question, body) {
      const headers = { "content-type": "application/json", "x-maskwork-token": shownToken() };
      return (await request(`/api/${question}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
    },
  };
}

/** @typedef {ReturnType<typeof createApi>} Api */
