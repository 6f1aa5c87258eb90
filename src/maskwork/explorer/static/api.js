// Questions to the server. While the server does not answer they wait, and are sent again when it is back.
// @ts-check

/** @typedef {import("./state.js").State} State */
/** @typedef {Uint8Array|Uint16Array|Uint32Array|Float64Array} Counts */

/** An answer of the server that is an error, with its HTTP status. */
export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Return the parameters for the state's mask, grid and plane; the layers only while the Depth panel is open.
 * @param {Readonly<State>} state
 * @returns {Record<string, string>}
 */
export function gridParameters(state) {
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
let launchToken = "";

function storedToken() {
  try {
    return launchToken || (sessionStorage.getItem(TOKEN) ?? "");
  } catch {
    return launchToken;
  }
}

/** Store the launch's token and remove it from the address, so that no shared link carries it. */
export function takeToken() {
  const match = /^#token=([\w-]+)$/.exec(location.hash);
  if (!match) return;
  launchToken = match[1];
  try {
    sessionStorage.setItem(TOKEN, launchToken); // for a reload of the page
  } catch {
    // a browser that stores nothing for pages in frames
  }
  history.replaceState(null, "", location.pathname + location.search);
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Return a `fetch` that throws `ApiError` for an error and repeats the request while the server does not answer.
 * @param {(offline: boolean) => void} onOffline called when the server stops answering, and when it is back
 */
function createRequest(onOffline) {
  /** @type {Promise<void>|null} */
  let reconnecting = null;

  async function reconnect() {
    onOffline(true);
    for (let wait = 250; ; wait = Math.min(wait * 1.5, 3000)) {
      await pause(wait);
      try {
        if ((await fetch("/api/health", { cache: "no-store" })).ok) break;
      } catch {
        // still offline
      }
    }
    onOffline(false);
    reconnecting = null;
  }

  /** @param {string} path @param {RequestInit} options @returns {Promise<Response>} */
  return async function request(path, options) {
    for (;;) {
      let response;
      try {
        response = await fetch(path, options);
      } catch (error) {
        if (options.signal?.aborted) throw error;
        await (reconnecting ??= reconnect());
        continue;
      }
      if (response.ok) return response;
      const body = await response.json().catch(() => ({}));
      throw new ApiError(body.error ?? `the server answered ${response.status}`, response.status);
    }
  };
}

/** @param {Record<string, string|number|undefined>} parameters */
const queryOf = (parameters) =>
  new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));

/** Types of a tile's counts by their bytes; the server sends the smallest that holds all of them. */
const COUNT_TYPES = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: Float64Array };

/**
 * Create the functions that ask the server.
 * @param {(offline: boolean) => void} onOffline called when the server stops answering, and when it is back
 */
export function createApi(onOffline) {
  const request = createRequest(onOffline);
  return {
    /**
     * Ask a question about a mask.
     * @param {string} question
     * @param {Record<string, string|number>} parameters
     * @param {AbortSignal} [signal]
     * @returns {Promise<any>}
     */
    async ask(question, parameters, signal) {
      return (await request(`/api/${question}?${queryOf(parameters)}`, { signal })).json();
    },
    /**
     * Ask for the allowed pairs under each pixel: one plane, or three with an `other` mask.
     * @param {{rows: number, columns: number, other?: string, [name: string]: string|number|undefined}} parameters
     * @param {AbortSignal} [signal]
     * @returns {Promise<Counts[]>}
     */
    async askTile(parameters, signal) {
      const bytes = await (await request(`/api/tile?${queryOf(parameters)}`, { signal })).arrayBuffer();
      const planes = parameters.other ? 3 : 1;
      const pixels = parameters.rows * parameters.columns;
      const size = /** @type {keyof typeof COUNT_TYPES} */ (bytes.byteLength / (planes * pixels));
      const counts = new COUNT_TYPES[size](bytes);
      return Array.from({ length: planes }, (_, plane) => counts.subarray(plane * pixels, (plane + 1) * pixels));
    },
    /**
     * Ask a question that reads files, which needs the launch's token.
     * @param {string} question
     * @param {object} body
     * @returns {Promise<any>}
     */
    async load(question, body) {
      const headers = { "content-type": "application/json", "x-maskwork-token": storedToken() };
      return (await request(`/api/${question}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
    },
  };
}

/** @typedef {ReturnType<typeof createApi>} Api */
