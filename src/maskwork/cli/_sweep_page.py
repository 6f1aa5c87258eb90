"""The sweep over transformers as a page of the documentation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ..proof import USUAL_CHECKS as CHECKS

_SHORT = {"clean": "clean", "leak": "**leak**", "warning": "warning", "cannot run": "—"}


def write_page(path: Path, rows: dict[str, dict[str, Any]], version: str) -> None:
    """Write the table, what each finding says, and why the others could not run."""
    counts = Counter(state.split(":")[0] for row in rows.values() for state in row["checks"].values())
    mask = Counter(row["checks"].get("mask", "cannot run").split(":")[0] for row in rows.values())
    lines = [
        f"# Every causal language model of transformers {version}",
        "",
        "`maskwork audit --all-transformers` builds each architecture tiny, with random weights, and audits it",
        f"against `causal()` on 31 tokens: {len(rows)} architectures. `mask`: "
        + ", ".join(f"{n} {state}" for state, n in sorted(mask.items()))
        + f"; all checks: {', '.join(f'{n} {state}' for state, n in sorted(counts.items()))}.",
        "",
        "`packing` calls a model as a user would, with `position_ids` alone: with a cache in use, the default,",
        "transformers does not look for documents. A dash: the check cannot run on this model.",
        "",
        f"| architecture | {' | '.join(CHECKS)} |",
        f"| --- |{' --- |' * len(CHECKS)}",
    ]
    for name, row in rows.items():
        if row["checks"]:
            states = [_SHORT[row["checks"].get(check, "cannot run").split(":")[0]] for check in CHECKS]
            lines.append(f"| {name} | {' | '.join(states)} |")
    found = [(name, f) for name, row in rows.items() for f in row.get("findings", []) if f["check"] != "packing"]
    lines += ["", "## Findings beside packing", ""] if found else []
    for name, f in found:
        said = f"`{f['module']}`, {f['cause']}, {f['pairs']} pairs, effect {f['effect']:.2g}; {f['evidence']}"
        lines.append(f"- {name}, {f['check']}: {said}")
    warned = [(name, c, words) for name, row in rows.items() for c, words in row.get("warnings", {}).items()]
    lines += ["", "## Warnings", ""] if warned else []
    lines += [f"- {name}, {check}: {words}" for name, check, words in warned]
    missing = [(name, row["why"]) for name, row in rows.items() if not row["checks"]]
    lines += ["", "## Not audited", ""] if missing else []
    lines += [f"- {name}: {why}" for name, why in missing]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
