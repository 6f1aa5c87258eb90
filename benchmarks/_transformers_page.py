"""The table of `audit_transformers.py` as a page of the documentation, docs/transformers.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from maskwork.proof import USUAL_CHECKS as CHECKS

#: Architecture -> why its check `mask` reports a leak, from reading its source.
_NOTES = {
    "CpmAntForCausalLM": "this is a real leak, caused by the call: `CpmAntModel.forward` marks every token as "
    "context, and every token may see the context.",
    "ProphetNetForCausalLM": "this is a real but small leak: `get_predict_relative_pos_embeddings` flattens its "
    "rows with the positions before the heads and unfolds them the other way round, so that a query's position bias is "
    "computed from other, also later, positions. With `permute(0, 1, 4, 2, 3)` in that function the check is clean.",
    "XLMWithLMHeadModel": "this is a real leak, caused by the configuration: XLM attends both ways unless "
    "`causal=True`. With `causal=True` the check is clean. Packed documents see each other for the same reason.",
    "XLNetLMHeadModel": 'this is a real leak, by design: XLNet\'s default `attn_type="bi"` sees all tokens unless a '
    '`perm_mask` forbids them. With `attn_type="uni"` the check is clean.',
}

_SHORT = {"clean": "clean", "leak": "**leak**", "warning": "warning", "cannot run": "—"}


def write_page(path: Path, rows: dict[str, dict[str, Any]], version: str) -> None:
    """Write the table, the findings, the warnings, and why the other architectures could not run."""
    counts = Counter(state.split(":")[0] for row in rows.values() for state in row["checks"].values())
    mask = Counter(row["checks"].get("mask", "cannot run").split(":")[0] for row in rows.values())
    lines = [
        f"# Every causal language model of transformers {version}",
        "",
        "`benchmarks/audit_transformers.py` builds each architecture tiny, with random weights, and audits it",
        f"against `causal()` on 31 tokens: {len(rows)} architectures. `mask`: "
        + ", ".join(f"{n} {state}" for state, n in sorted(mask.items()))
        + f"; all checks: {', '.join(f'{n} {state}' for state, n in sorted(counts.items()))}.",
        "",
        "`packing` calls a model as a user would, with `position_ids` alone. By default a cache is in use, and",
        "transformers then ignores documents. A dash means that the check cannot run on this model.",
        "",
        f"| architecture | {' | '.join(CHECKS)} |",
        f"| --- |{' --- |' * len(CHECKS)}",
    ]
    for name, row in rows.items():
        if row["checks"]:
            states = [_SHORT[row["checks"].get(check, "cannot run").split(":")[0]] for check in CHECKS]
            lines.append(f"| {name} | {' | '.join(states)} |")
    leaks = [name for name, row in rows.items() if row["checks"].get("mask") == "leak"]
    lines += ["", "## Models that do not honour `causal()`", ""] if leaks else []
    lines += [f"- {name}: {_NOTES.get(name, 'the cause is not known yet')}" for name in leaks]
    findings = [(name, f) for name, row in rows.items() for f in row.get("findings", []) if f["check"] != "packing"]
    lines += ["", "## Findings beside packing", ""] if findings else []
    for name, f in findings:
        text = f"`{f['module']}`, {f['cause']}, {f['pairs']} pairs, effect {f['effect']:.2g}; {f['evidence']}"
        lines.append(f"- {name}, {f['check']}: {text}")
    warnings = [(name, c, words) for name, row in rows.items() for c, words in row.get("warnings", {}).items()]
    lines += ["", "## Warnings", ""] if warnings else []
    lines += [f"- {name}, {check}: {words}" for name, check, words in warnings]
    missing = [(name, row["why"]) for name, row in rows.items() if not row["checks"]]
    lines += ["", "## Not audited", ""] if missing else []
    lines += [f"- {name}: {why}" for name, why in missing]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
