// What the Model panel says of the weights it got, and of the audit: verdicts, leaking heads, findings.
// @ts-check

import { formatInteger } from "../format.js";
import { make, makeButton } from "./parts.js";

/** @typedef {{cells: number, weight: number|null, of: number}} Forbidden  weight null: not a finite number */
/** @typedef {{query: number, key: number|null, text: string, evidence: string, picture: string}} Finding */
/** @typedef {{mask: string, own: string, tokens: string[], layer: number, head: number, weights: string,
 *   allowed: string[], forbidden: Forbidden, everywhere: Forbidden[][], notes: string[]}} WeightsAnswer */
/** @typedef {{mask: string, ok: boolean, checks: Record<string, string>, evidence: Record<string, string>,
 *   warnings: Record<string, string>, findings: Finding[]}} Report */

const MAX_HEADS = 20; // that are named

/**
 * Show whether forbidden cells have weight.
 * @param {HTMLElement} verdict
 * @param {WeightsAnswer} answer
 */
export function showWeightVerdict(verdict, { forbidden: { cells, weight, of }, tokens }) {
  verdict.className = cells ? "verdict no leak" : "verdict yes";
  verdict.replaceChildren(
    ...(cells
      ? [
          make("b", "", `⚠ weight on forbidden cells: ${weight === null ? "not a finite number" : String(weight)}`),
          ` of ${formatInteger(tokens.length)} in all, on ${formatInteger(cells)} of ${formatInteger(of)} such cells`,
        ]
      : [make("b", "", "✓ weight on forbidden cells: 0 (exactly)"), `, on all ${formatInteger(of)} of them`]
    ).map((part) => (typeof part === "string" ? make("span", "", part) : part)),
  );
}

/**
 * Return the masks that the weights are judged by, and how to read the map.
 * @param {WeightsAnswer} answer
 */
export const makeFacts = ({ mask, own, notes }) => [
  "Expected mask: ", make("code", "", mask), "; the model's own: ", make("code", "", own),
  ". Rows are queries, columns keys. Darker: more weight, by its root. Hatched: forbidden.",
  ...notes.map((note) => make("p", "bad", `⚠ ${note}`)),
];

/**
 * Return how many heads put weight on forbidden cells, with buttons that show them.
 * @param {Forbidden[][]} everywhere by layer and head
 * @param {(layer: number, head: number) => void} show
 */
export function makeHeads(everywhere, show) {
  const leaking = everywhere.flatMap((heads, layer) =>
    heads.flatMap((forbidden, head) => (forbidden.cells ? [{ layer, head, weight: forbidden.weight }] : [])),
  );
  const all = formatInteger(everywhere.reduce((sum, heads) => sum + heads.length, 0));
  if (!leaking.length) {
    return [make("p", "hint", `Of all ${all} heads, none puts weight on forbidden cells.`), make("div", "places")];
  }
  const buttons = leaking.slice(0, MAX_HEADS).map(({ layer, head, weight }) =>
    makeButton(`layer ${layer}, head ${head}: ${weight === null ? "not finite" : weight.toPrecision(3)}`, () =>
      show(layer, head),
    ),
  );
  const left = leaking.length - MAX_HEADS;
  return [
    make("p", "bad", `⚠ Of all ${all} heads, ${formatInteger(leaking.length)} put weight on forbidden cells:`),
    make("div", "places", ...buttons),
    ...(left > 0 ? [make("p", "hint", `and ${formatInteger(left)} more`)] : []),
  ];
}

/** @param {string} text */
function makePicture(text) {
  const out = make("pre", "code", text);
  out.tabIndex = 0;
  out.setAttribute("role", "region");
  out.setAttribute("aria-label", "Expected and observed");
  return out;
}

/**
 * Return an audit's verdict and findings.
 * @param {Report} report
 * @param {((query: number, key: number) => void)|null} goTo shows a cell; null: no map is shown
 */
export function makeReport({ ok, checks, evidence, warnings, mask, findings }, goTo) {
  const items = findings.map(({ text, evidence: seen, picture, query, key }) => {
    const item = make("li", "", make("p", "", text), make("p", "hint", seen));
    if (picture) item.append(makePicture(picture));
    if (goTo && key !== null) item.append(makeButton(`Go to query ${query}, key ${key}`, () => goTo(query, key)));
    return item;
  });
  return [
    make("h3", "", "Audit"),
    make("div", ok ? "verdict yes" : "verdict no",
      make("b", "", ok ? "✓ it keeps the mask" : `⚠ ${checks.mask}`),
      make("span", "", ` ${evidence.mask ?? ""} ${warnings.mask ?? ""}`)),
    make("p", "hint", "Judged against ", make("code", "", mask), "."),
    make("ol", "findings", ...items),
  ];
}
