// Model: the attention weights that a model of one's own really uses, under the mask that it should keep.
// @ts-check

import { ApiError } from "../api.js";
import { button, choice, labelled, made, noticePlace, numberField, refuse, whole } from "./parts.js";
import { createHeatMap } from "./weights.js";

/** @typedef {{cells: number, weight: number|null, of: number}} Forbidden */
/** @typedef {{query: number, key: number|null, text: string, evidence: string, picture: string}} Finding */
/** @typedef {{mask: string, own: string, tokens: string[], layer: number, head: number, weights: string, allowed: string[],
 *   forbidden: Forbidden, everywhere: Forbidden[][], notes: string[]}} Answer */
/** @typedef {{mask: string, ok: boolean, checks: Record<string, string>, evidence: Record<string, string>,
 *   warnings: Record<string, string>, findings: Finding[]}} Report */

const LISTED = 20; // heads that are named
const PROMPT = "The cat ate the fish";

/** Models of the server's own, for who has none at hand. @type {[string, string][]} */
const EXAMPLES = [
  ["honest", "keeps the mask"],
  ["no-mask", "forgets the mask"],
  ["shifted-labels", "shifts its labels"],
];

/** @param {string} text base64 of float64 */
const floats = (text) => new Float64Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

/** @param {Forbidden} forbidden */
const amount = ({ weight }) => (weight === null ? "not a finite number" : String(weight));

/** @param {string} text @returns {number[]} */
function numbers(text) {
  const parts = text.split(/[\s,]+/).filter(Boolean);
  if (!parts.every((part) => /^\d{1,9}$/.test(part))) throw new Error("Token ids are whole numbers from 0, apart by spaces or commas.");
  return parts.map(Number);
}

export const panel = {
  id: "model",
  title: "Model",
  /** @param {HTMLElement} root @param {import("../main.js").App} app */
  mount(root, app) {
    const kept = () => app.state.get().p.model ?? {};
    const path = made("input", "folder");
    Object.assign(path, { type: "text", spellcheck: false, placeholder: "runs/demo", required: true });
    const prompt = made("textarea", "expression");
    Object.assign(prompt, { rows: 2, spellcheck: false });
    const kind = choice("What the prompt is", [["text", "text"], ["ids", "token ids"]], (value) => remember({ kind: value }));
    const declared = choice("The mask it should keep", [["page", "the mask above"], ["own", "its own"]], (value) => remember({ declared: value }));
    const layer = numberField({ low: 0, high: 0, value: 0, act: (value) => remember({ layer: String(value) }) });
    const head = numberField({ low: 0, high: 0, value: 0, act: (value) => remember({ head: String(value) }) });
    const load = made("button", "main", "Show its weights");
    load.type = "submit";
    const check = button("Audit it", () => void audit());
    const form = made("form", "model-form",
      labelled("folder of a run, or of a Hugging Face model", path), labelled("prompt", prompt),
      made("div", "fields",
        made("div", "field", made("span", "", "the prompt is"), kind.root),
        made("div", "field", made("span", "", "it should keep"), declared.root)),
      made("div", "fields", load, check));
    const examples = made("div", "places examples", made("span", "hint", "Or try one that"),
      ...EXAMPLES.map(([name, text]) => button(text, () => tryOne(name))));
    const notice = noticePlace();
    const verdict = made("div", "verdict");
    verdict.setAttribute("role", "status");
    const facts = made("p", "hint");
    const map = createHeatMap(app);
    const others = made("div");
    const body = made("div", "",
      made("div", "fields", labelled("layer", layer), labelled("head", head)), verdict, map.root, facts, others);
    const audited = made("div", "audit");
    body.hidden = true;
    root.append(made("h2", "", "What a model really attends to"), form, examples, notice, body, audited);

    /** @type {Answer|null} */
    let shown = null;
    /** @type {Finding[]} */
    let findings = [];
    let turn = 0;

    /** What has been asked for; nothing is read before the button is pressed. @type {object|null} */
    let asked = null;
    /** What the findings are of. */
    let judged = "";

    /** @param {Record<string, string>} patch */
    function remember(patch) {
      app.state.remember("model", patch);
    }

    /** @param {string} name of an example */
    function tryOne(name) {
      remember({ path: `example:${name}`, prompt: prompt.value.trim() || PROMPT, kind: "text", declared: "page" });
      void show();
    }

    /** The form as a request. */
    function request() {
      const { declared: whose, kind: form } = kept();
      const what = form === "ids" ? { ids: numbers(prompt.value) } : { prompt: prompt.value };
      return { path: path.value.trim(), mask: whose === "own" ? null : app.state.get().mask, ...what };
    }

    /** @param {string} text */
    function wait(text) {
      notice.className = "notice waiting";
      notice.hidden = false;
      notice.replaceChildren(text);
    }

    /** @param {unknown} error */
    function fail(error) {
      refuse(app, notice, error);
      if (error instanceof ApiError && error.status === 403) {
        notice.replaceChildren(
          "Models are opened for whoever has this launch's token: open the page by the address that the command printed; it ends with the token.");
      }
    }

    async function show() {
      const mine = ++turn;
      try {
        asked = request();
        if (JSON.stringify(asked) !== judged) forget();
        wait("Loading the model and running it …");
        const index = (/** @type {string|undefined} */ text) => Number(text ?? 0) || 0;
        const found = await app.load("model", { ...asked, layer: index(kept().layer), head: index(kept().head) });
        if (mine !== turn) return;
        refuse(app, notice, null);
        shown = found;
        draw();
      } catch (error) {
        if (mine !== turn) return;
        body.hidden = true;
        fail(error);
      }
    }

    function draw() {
      if (!shown) return;
      const { forbidden, everywhere, mask, notes, own } = shown;
      body.hidden = false;
      layer.max = String(everywhere.length - 1);
      head.max = String(everywhere[shown.layer].length - 1);
      // A field that is being written keeps what is written.
      if (document.activeElement !== layer) layer.value = String(shown.layer);
      if (document.activeElement !== head) head.value = String(shown.head);
      const clean = forbidden.cells === 0;
      verdict.className = clean ? "verdict yes" : "verdict no leak";
      verdict.replaceChildren(
        made("b", "", clean ? "✓ weight on forbidden cells: 0 (exactly)" : `⚠ weight on forbidden cells: ${amount(forbidden)}`),
        made("span", "", clean ? `, on all ${whole(forbidden.of)} of them`
          : ` of ${whole(shown.tokens.length)} in all, on ${whole(forbidden.cells)} of ${whole(forbidden.of)} such cells`),
      );
      facts.replaceChildren("Should keep ", made("code", "", mask), "; says of itself ", made("code", "", own),
        ". Rows are queries, columns keys. Darker: more weight, by its root. Hatched: forbidden.", ...notes.map((note) => made("p", "bad", `⚠ ${note}`)));
      map.show({ tokens: shown.tokens, values: floats(shown.weights), allowed: shown.allowed, findings });
      map.root.dataset.shown = `${shown.layer},${shown.head}`; // for tests: the picture is of this layer and head
      drawOthers(everywhere);
    }

    /** @param {Forbidden[][]} everywhere */
    function drawOthers(everywhere) {
      const leaking = everywhere.flatMap((heads, l) => heads.flatMap((one, h) => (one.cells ? [{ l, h, one }] : [])));
      const all = everywhere.reduce((sum, heads) => sum + heads.length, 0);
      const text = leaking.length
        ? `⚠ Of all ${whole(all)} heads, ${whole(leaking.length)} put weight on forbidden cells:`
        : `Of all ${whole(all)} heads, none puts weight on forbidden cells.`;
      const buttons = leaking.slice(0, LISTED).map(({ l, h, one }) =>
        button(`layer ${l}, head ${h}: ${one.weight === null ? "not finite" : one.weight.toPrecision(3)}`,
          () => remember({ layer: String(l), head: String(h) })));
      others.replaceChildren(made("p", leaking.length ? "bad" : "hint", text), made("div", "places", ...buttons));
      if (leaking.length > LISTED) others.append(made("p", "hint", `and ${whole(leaking.length - LISTED)} more`));
    }

    async function audit() {
      const mine = ++turn;
      check.disabled = true;
      try {
        const what = request();
        wait("The audit runs: every module that mixes positions is judged. That takes seconds, minutes for a large model …");
        const report = /** @type {Report} */ (await app.load("audit", what));
        if (mine === turn) refuse(app, notice, null);
        if (JSON.stringify(request()) !== JSON.stringify(what)) return; // of another model, prompt or mask
        judged = JSON.stringify(what);
        drawReport(report);
      } catch (error) {
        if (mine === turn) fail(error);
      } finally {
        check.disabled = false;
      }
    }

    /** Findings of another model, prompt or mask. */
    function forget() {
      findings = [];
      audited.replaceChildren();
    }

    /** @param {Report} report */
    function drawReport(report) {
      findings = report.findings;
      const list = made("ol", "findings", ...findings.map((finding) => {
        const item = made("li", "", made("p", "", finding.text), made("p", "hint", finding.evidence));
        if (finding.picture) item.append(picture(finding.picture));
        const { query, key } = finding;
        if (shown && key !== null) item.append(button(`Go to query ${query}, key ${key}`, () => map.go(query, key)));
        return item;
      }));
      audited.replaceChildren(
        made("h3", "", "Audit"),
        made("div", report.ok ? "verdict yes" : "verdict no",
          made("b", "", report.ok ? "✓ it keeps the mask" : `⚠ ${report.checks.mask}`),
          made("span", "", ` ${report.evidence.mask ?? ""} ${report.warnings.mask ?? ""}`)),
        made("p", "hint", "Judged against ", made("code", "", report.mask), "."),
        list,
      );
      app.announce(report.ok ? "The audit found nothing." : `The audit: ${report.checks.mask}`);
      draw();
    }

    /** @param {string} text */
    function picture(text) {
      const out = made("pre", "code", text);
      out.tabIndex = 0;
      out.setAttribute("role", "region");
      out.setAttribute("aria-label", "Expected and observed");
      return out;
    }

    function fill() {
      const { path: where = "", prompt: what = "", kind: form = "text", declared: whose = "page" } = kept();
      if (document.activeElement !== path) path.value = where;
      if (document.activeElement !== prompt) prompt.value = what;
      kind.show(form);
      declared.show(whose);
    }

    /** What the weights were asked with is no longer what the form says. @param {Readonly<import("../state.js").State>} before */
    function changed(before) {
      const [now, was] = [kept(), before.p.model ?? {}];
      const own = now.declared === "own";
      return ["layer", "head", "declared"].some((key) => now[key] !== was[key]) || (!own && app.state.get().mask !== before.mask);
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void show();
    });
    path.addEventListener("input", () => remember({ path: path.value }));
    prompt.addEventListener("input", () => remember({ prompt: prompt.value }));
    app.state.on(["p", "mask"], (_, before) => {
      fill();
      if (asked && app.state.get().panel === "model" && changed(before)) void show();
    });
    fill();
  },
};
