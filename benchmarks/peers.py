"""Compare our masks, biases and attention with those of other libraries, case by case, and count the outcomes.

    python benchmarks/peers.py [--only NAME] [--limit CASES] [--page FILE] [--json FILE]

Each row is a call of another library and the code of ours that means the same; docs/guides/migrating.md shows these
rows. A library that is not installed is represented by formulas, written from its documentation. A case is "equal" if
every cell is, "different", "refused" if ours raises an error of its own, or "not expressible" if ours lacks a name.
Exit code 1: a case is different or refused in a row that does not say why. It takes some ten seconds.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from _common import finish, parser_of
from _peers import Counts, Peer, compare, lacking, peers

OUTCOMES = ("equal", "different", "refused", "not expressible")


def measure(only: str = "", limit: int | None = None) -> dict[str, dict[str, object]]:
    """Compare the rows whose name contains `only`; return outcomes, seconds and reasons by the name of the row."""
    figures: dict[str, dict[str, object]] = {}
    for peer in peers():
        for row in peer.rows:
            if only in row.name:
                start = time.perf_counter()
                counts, details = compare(row, limit)
                figures[row.name] = {
                    **{outcome: counts[outcome] for outcome in OUTCOMES},
                    "seconds": time.perf_counter() - start,
                    "details": details[:5],
                    "why": row.why,
                    "missing": lacking(row, next(row.cases())),
                }
    return figures


def page(figures: dict[str, dict[str, object]], all_peers: list[Peer]) -> str:
    """Return the table as Markdown: a line per library, then a line per row of the guide."""
    lines = ["| library | represented by | rows | equal | different | refused | not expressible |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    total = Counts()
    for peer in all_peers:
        rows = [row for row in peer.rows if row.name in figures]
        counts = Counts()
        for row in rows:
            counts.update({outcome: figures[row.name][outcome] for outcome in OUTCOMES})
        total.update(counts)
        if rows:
            cells = " | ".join(f"{counts[outcome]:,}" for outcome in OUTCOMES)
            lines.append(f"| {peer.title} | {peer.source} | {len(rows)} | {cells} |")
    cells = " | ".join(f"**{total[outcome]:,}**" for outcome in OUTCOMES)
    lines += [f"| **all** | | {len(figures)} | {cells} |", ""]
    lines.append("| row | equal | different | refused | not expressible | why |")
    lines.append("| --- | ---: | ---: | ---: | ---: | --- |")
    for name, figure in figures.items():
        cells = " | ".join(f"{figure[outcome]:,}" for outcome in OUTCOMES)
        why = figure["why"] or (figure["missing"] if figure["not expressible"] else "")
        lines.append(f"| `{name}` | {cells} | {why} |")
    return "\n".join(lines)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--only", default="", help="part of the names of the rows to compare")
    parser.add_argument("--limit", type=int, help="most cases of each row")
    parser.add_argument("--page", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the tensors are tiny
    start = time.perf_counter()
    figures = measure(arguments.only, arguments.limit)
    seconds = time.perf_counter() - start
    table = page(figures, peers())
    print(f"{table}\n\n{seconds:.0f} s")
    missed = [name for name, row in figures.items() if not row["why"] and (row["different"] or row["refused"])]
    for name in missed:
        print("\n".join(["", *figures[name]["details"]]))
    if arguments.page:
        arguments.page.write_text(f"{table}\n", encoding="utf-8")
    finish(dict(figures), missed, arguments.json)


if __name__ == "__main__":
    main()
