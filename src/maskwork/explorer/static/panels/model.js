// Model: the attention weights that your own model uses, under the mask that it is expected to keep, and its audit.
// @ts-check

import { ApiError } from "../api.js";
import { createModelForm } from "./model-form.js";
import { makeFacts, makeHeads, makeReport, showWeightVerdict } from "./model-report.js";
import { make, makeNotice, makeNumberField, showError, showWaiting, withLabel } from "./parts.js";
import { createHeatMap } from "./weights.js";

/** @typedef {import("../main.js").App} App */
/** @typedef {import("../state.js").State} State */
/** @typedef {import("./model-report.js").WeightsAnswer} WeightsAnswer */
/** @typedef {import("./model-report.js").Report} Report */
/** @typedef {import("./model-report.js").Finding} Finding */

const LOADING = "Loading the model and running it …";
const AUDITING =
  "The audit judges every module that mixes positions. That takes seconds, minutes for a large model …";
const NO_TOKEN =
  "The server opens models only for pages with its token: open the page by the address that the command printed, " +
  "for it ends with the token.";

/** @param {string} text base64 of float64 */
const floatsOf = (text) => new Float64Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

/** @param {App} app @param {HTMLElement} notice @param {unknown} error */
function showModelError(app, notice, error) {
  showError(app, notice, error);
  if (error instanceof ApiError && error.status === 403) notice.replaceChildren(NO_TOKEN);
}

/**
 * Create the view of one layer and head: fields to choose them, verdict, heat map, and the other heads that leak.
 * @param {App} app
 * @param {(patch: Record<string, string>) => void} remember stores fields
 */
function createWeightsView(app, remember) {
  const layer = makeNumberField({ low: 0, high: 0, value: 0, act: (value) => remember({ layer: String(value) }) });
  const head = makeNumberField({ low: 0, high: 0, value: 0, act: (value) => remember({ head: String(value) }) });
  const verdict = make("div", "verdict");
  verdict.setAttribute("role", "status");
  const [facts, heads, map] = [make("p", "hint"), make("div"), createHeatMap(app)];
  const chosen = make("div", "fields", withLabel("layer", layer), withLabel("head", head));
  const root = make("div", "", chosen, verdict, map.root, facts, heads);
  root.hidden = true;
  return {
    root,
    goTo: map.go,
    /** @param {WeightsAnswer} answer @param {Finding[]} findings of the audit */
    show(answer, findings) {
      const { everywhere, tokens, allowed, weights } = answer;
      root.hidden = false;
      layer.max = String(everywhere.length - 1);
      head.max = String(everywhere[answer.layer].length - 1);
      // A field that is being written stays as it is.
      if (document.activeElement !== layer) layer.value = String(answer.layer);
      if (document.activeElement !== head) head.value = String(answer.head);
      showWeightVerdict(verdict, answer);
      facts.replaceChildren(...makeFacts(answer));
      map.show({ tokens, values: floatsOf(weights), allowed, findings });
      map.root.dataset.shown = `${answer.layer},${answer.head}`; // for tests: the picture is of this layer and head
      heads.replaceChildren(...makeHeads(everywhere, (l, h) => remember({ layer: String(l), head: String(h) })));
    },
  };
}

export const panel = {
  id: "model",
  title: "Model",
  /** @param {HTMLElement} root @param {App} app */
  mount(root, app) {
    const notice = makeNotice();
    const form = createModelForm(app, { onLoad: () => void load(), onAudit: () => void audit() });
    const view = createWeightsView(app, form.remember);
    const audited = make("div", "audit");
    root.append(make("h2", "", "What a model really attends to"), ...form.elements, notice, view.root, audited);

    /** @type {WeightsAnswer|null} */
    let answer = null;
    /** @type {Finding[]} */
    let findings = [];
    let latest = 0; // number of the last question
    /** What was last asked for; nothing is read before a button is pressed. @type {object|null} */
    let requested = null;
    let auditedRequest = ""; // what the findings belong to

    async function load() {
      const turn = ++latest;
      try {
        requested = form.request();
        if (JSON.stringify(requested) !== auditedRequest) forgetAudit();
        showWaiting(notice, LOADING);
        const [layer, head] = [form.fields().layer, form.fields().head].map((text) => Number(text ?? 0) || 0);
        const loaded = await app.load("model", { ...requested, layer, head });
        if (turn !== latest) return;
        showError(app, notice, null);
        answer = loaded;
        show();
      } catch (error) {
        if (turn !== latest) return;
        view.root.hidden = true;
        showModelError(app, notice, error);
      }
    }

    function show() {
      if (answer) view.show(answer, findings);
    }

    async function audit() {
      const turn = ++latest;
      form.audit.disabled = true;
      try {
        const request = form.request();
        showWaiting(notice, AUDITING);
        const report = /** @type {Report} */ (await app.load("audit", request));
        if (turn === latest) showError(app, notice, null);
        if (JSON.stringify(form.request()) !== JSON.stringify(request)) return; // of another model, prompt or mask
        auditedRequest = JSON.stringify(request);
        showReport(report);
      } catch (error) {
        if (turn === latest) showModelError(app, notice, error);
      } finally {
        form.audit.disabled = false;
      }
    }

    /** @param {Report} report */
    function showReport(report) {
      findings = report.findings;
      audited.replaceChildren(...makeReport(report, answer && view.goTo));
      app.announce(report.ok ? "The audit found no leak." : `The audit: ${report.checks.mask}`);
      show();
    }

    /** Drop findings of another model, prompt or mask. */
    function forgetAudit() {
      findings = [];
      audited.replaceChildren();
    }

    /** Return whether the form no longer says what the weights were asked with. @param {Readonly<State>} previous */
    function isOutdated(previous) {
      const [now, before] = [form.fields(), previous.p.model ?? {}];
      const maskChanged = now.declared !== "own" && app.state.get().mask !== previous.mask;
      return maskChanged || ["layer", "head", "declared"].some((key) => now[key] !== before[key]);
    }

    app.state.on(["p", "mask"], (_, previous) => {
      form.show();
      if (requested && app.state.get().panel === "model" && isOutdated(previous)) void load();
    });
    form.show();
  },
};
