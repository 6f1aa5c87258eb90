// Panels in step with the state: a panel asks the server again when what it shows has changed, while it is open.
// @ts-check

import { gridParameters } from "../api.js";
import { formatInteger } from "../format.js";
import { showError, showWaiting } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").State} State */

const WAITING_AFTER = 400; // ms, after which a panel says that it waits
const COLLECT = 30; // ms in which changes of the state share one question

/** The keys of the state that define mask, grid and plane. @type {(keyof State)[]} */
export const GRID = ["mask", "length", "qLen", "qStart", "batch", "heads", "b", "h"];

/** The longest side that panels show number by number. */
export const SHORT = 64;

/**
 * Ask and show when one of the keys changes while the panel is open, otherwise when the panel is opened again.
 * @template T
 * @param {App} app
 * @param {string} id of the panel
 * @param {(keyof State)[]} keys
 * @param {{notice: HTMLElement, body?: HTMLElement, length?: number, ask: (signal: AbortSignal) => Promise<T>,
 *   show: (answer: T) => void}} options
 *   body: hidden until there is an answer, dimmed while the next one is on its way;
 *   length: offered where the state's is too long
 * @returns {() => void} asks again
 */
export function follow(app, id, keys, { notice, body, length, ask, show }) {
  let stale = true;
  let latest = 0; // number of the last question
  let timer = 0;
  let abort = new AbortController();
  if (body) body.hidden = true;

  async function run() {
    if (app.state.get().panel !== id) return; // closed since: the question is asked when the panel is opened again
    const turn = ++latest;
    stale = false;
    abort.abort();
    abort = new AbortController();
    const slow = setTimeout(() => turn === latest && showWaiting(notice, "Counting …"), WAITING_AFTER);
    try {
      const answer = await ask(abort.signal);
      if (turn !== latest || stale) return;
      body?.classList.remove("stale");
      showError(app, notice, null);
      if (body) body.hidden = false;
      show(answer);
    } catch (error) {
      if (turn !== latest || stale) return;
      if (body) body.hidden = true;
      showError(app, notice, error, length);
    } finally {
      clearTimeout(slow);
    }
  }

  function runIfStale() {
    if (!stale || app.state.get().panel !== id) return;
    clearTimeout(timer);
    timer = window.setTimeout(run, COLLECT);
  }
  function askAgain() {
    stale = true;
    body?.classList.add("stale"); // it shows the state before
    runIfStale();
  }
  app.state.on(keys, askAgain);
  app.state.on(["panel"], runIfStale);
  runIfStale();
  return askAgain;
}

/**
 * Every cell of a short grid.
 * @typedef {{rows: string[], last_seen: number[], documents: number[]|null, q_start: number}} Cells
 */
/**
 * Ask for every cell of the state's grid; throw if it is too long to show them.
 * @param {App} app
 * @param {AbortSignal} signal
 * @param {boolean} [square] take all positions as queries
 * @returns {Promise<Cells>}
 */
export async function fetchCells(app, signal, square = false) {
  const state = app.state.get();
  const { length } = state;
  const longest = square ? length : Math.max(length, state.qLen ?? length);
  if (longest > SHORT)
    throw new Error(`This panel shows up to ${SHORT} positions, got ${formatInteger(longest)}; set a shorter length`);
  return app.ask("cells", gridParameters(square ? { ...state, qLen: null, qStart: null } : state), signal);
}
