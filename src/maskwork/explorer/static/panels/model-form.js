// The form of the Model panel: which model, which prompt, and the mask that the model is expected to keep.
// @ts-check

import { make, makeButton, makeChoice, withLabel } from "./parts.js";

/** @typedef {import("../main.js").App} App */
/**
 * What the server is asked for; mask null: the model's own.
 * @typedef {{path: string, mask: string|null, prompt?: string, ids?: number[]}} ModelRequest
 */

/** @type {[string, string][]} */
const KINDS = [["text", "text"], ["ids", "token ids"]];
/** @type {[string, string][]} */
const MASKS = [["page", "the mask above"], ["own", "the model's own"]];
const PROMPT = "The cat ate the fish";

/** Small models of the server, for a first look. @type {[string, string][]} */
const EXAMPLES = [
  ["honest", "keeps the mask"],
  ["no-mask", "forgets the mask"],
  ["shifted-labels", "shifts its labels"],
];

/** @param {string} text @returns {number[]} */
function parseIds(text) {
  const parts = text.split(/[\s,]+/).filter(Boolean);
  const wrong = parts.find((part) => !/^\d{1,9}$/.test(part));
  if (wrong !== undefined) {
    throw new Error(`token ids are integers from 0 with spaces or commas between them, got "${wrong}"; write such`);
  }
  return parts.map(Number);
}

/**
 * Create the form. Its fields are part of the state, and a link opens no file by itself: only buttons do.
 * @param {App} app
 * @param {{onLoad: () => void, onAudit: () => void}} options
 */
export function createModelForm(app, { onLoad, onAudit }) {
  /** @param {Record<string, string>} patch */
  const remember = (patch) => app.state.remember("model", patch);
  const fields = () => app.state.get().p.model ?? {};

  const path = make("input", "folder");
  Object.assign(path, { type: "text", spellcheck: false, placeholder: "runs/demo", required: true });
  path.addEventListener("input", () => remember({ path: path.value }));
  const prompt = make("textarea", "expression");
  Object.assign(prompt, { rows: 2, spellcheck: false });
  prompt.addEventListener("input", () => remember({ prompt: prompt.value }));
  const kind = makeChoice("What the prompt is", KINDS, (value) => remember({ kind: value }));
  const declared = makeChoice("The expected mask", MASKS, (value) => remember({ declared: value }));
  const load = make("button", "main", "Show its weights");
  load.type = "submit";
  const audit = makeButton("Audit it", onAudit);
  const form = make("form", "model-form",
    withLabel("folder of a run, or of a Hugging Face model", path), withLabel("prompt", prompt),
    make("div", "fields",
      make("div", "field", make("span", "", "the prompt is"), kind.root),
      make("div", "field", make("span", "", "expected mask"), declared.root)),
    make("div", "fields", load, audit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onLoad();
  });

  /** @param {string} name of an example */
  function tryExample(name) {
    remember({ path: `example:${name}`, prompt: prompt.value.trim() || PROMPT, kind: "text", declared: "page" });
    onLoad();
  }
  const examples = make("div", "places examples", make("span", "hint", "Or try one that"),
    ...EXAMPLES.map(([name, text]) => makeButton(text, () => tryExample(name))));

  return {
    elements: [form, examples],
    audit,
    fields,
    remember,
    /** Show the state's fields, but leave the one that is being written. */
    show() {
      const { path: where = "", prompt: text = "", kind: form = "text", declared: whose = "page" } = fields();
      if (document.activeElement !== path) path.value = where;
      if (document.activeElement !== prompt) prompt.value = text;
      kind.show(form);
      declared.show(whose);
    },
    /** Return what the form asks for. @returns {ModelRequest} */
    request() {
      const { declared: whose, kind: form } = fields();
      const input = form === "ids" ? { ids: parseIds(prompt.value) } : { prompt: prompt.value };
      return { path: path.value.trim(), mask: whose === "own" ? null : app.state.get().mask, ...input };
    },
  };
}
