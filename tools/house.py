"""Measure the house: folders, circles of imports, names, prose, types, tests, and where behaviours lie.

    python tools/house.py                 a table: figure, measured, goal, ok
    python tools/house.py --list names    every offender of a figure and of its parts (`files`: every `files-...`)
    python tools/house.py --json          the same as JSON

Exit code 1: a goal is missed; 2: wrong arguments. The goals are those of the design (sections 2 and 8) and of the plain
words. Files are read, not imported; only the figures `files-...` run the package, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from _house import behaviours, circles, folders, lengths, mirror, names, prose, traced, type_checker
from _house.checkout import PACKAGE, Checkout, Surroundings
from _house.figure import Figure


def measure_elsewhere(checkout: Checkout, measure: Callable[[Checkout], Figure]) -> Figure:
    """Measure the Python files beside the package in the same way; no goal judges them."""
    figure = measure(Surroundings(checkout.root))
    title = f"beside the package: {figure.title}"
    return replace(figure, key=f"{figure.key}-elsewhere", title=title, goal="none set", ok=True)


#: The keys of the figures that one function measures -> that function.
MEASURES: dict[tuple[str, ...], Callable[[Checkout], Figure | list[Figure]]] = {
    ("folders",): folders.measure,
    ("circles", "circles-typing", "circles-silent"): circles.measure,
    ("names",): names.measure_function_words,
    ("names-elsewhere",): partial(measure_elsewhere, measure=names.measure_function_words),
    ("classes",): names.measure_classes,
    ("comments",): prose.measure_comments,
    ("docstrings",): prose.measure_docstrings,
    ("docstrings-elsewhere",): partial(measure_elsewhere, measure=prose.measure_docstrings),
    ("messages",): prose.measure_messages,
    ("messages-elsewhere",): partial(measure_elsewhere, measure=prose.measure_messages),
    ("types", "types-folders"): type_checker.measure,
    ("tests",): mirror.measure,
    ("behaviours",): behaviours.measure,
    **{(f"files-{behaviour}",): partial(traced.measure, behaviour=behaviour) for behaviour in traced.GOALS},
    ("functions", "javascript", "file-length"): lengths.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and return the exit code."""
    options = _parser().parse_args(arguments)
    checkout = Checkout(options.root.resolve())
    if not (checkout.root / PACKAGE).is_dir():
        _parser().error(f"--root is a checkout with {PACKAGE}, got {options.root}")
    try:
        checkout.files  # noqa: B018 - all measures read them: what git cannot list, such as an archive, ends here
    except (OSError, subprocess.CalledProcessError):
        _parser().error(f"--root is a checkout whose files git can list, got {options.root}")
    measures = dict(MEASURES)
    if options.no_types:
        measures["types", "types-folders"] = partial(type_checker.measure, run=False)
    if options.list:
        measures = {keys: m for keys, m in measures.items() if any(_is_meant(options.list, key) for key in keys)}
        if not measures:
            _parser().error(
                f"--list is one of {', '.join(key for keys in MEASURES for key in keys)}, got {options.list}"
            )
    figures: list[Figure] = []
    for measure in measures.values():
        result = measure(checkout)
        figures += result if isinstance(result, list) else [result]
    if options.list:
        figures = [figure for figure in figures if _is_meant(options.list, figure.key)]
    _print(figures, as_json=options.json, details=bool(options.list))
    return 0 if all(figure.ok for figure in figures) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON, offenders included")
    parser.add_argument("--list", metavar="FIGURE", help="print every offender of a figure as file:line")
    parser.add_argument(
        "--no-types", action="store_true", help="do not run the type checker; the goal of `types` then counts as missed"
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout to measure")
    return parser


def _is_meant(word: str, key: str) -> bool:
    """Return whether `--list word` means the figure `key`: `word` is the key or the first part of the key."""
    return word == key or key.startswith(f"{word}-")


def _print(figures: list[Figure], *, as_json: bool, details: bool) -> None:
    if as_json:
        print(json.dumps({figure.key: asdict(figure) for figure in figures}, indent=2))
        return
    if details:
        for figure in figures:
            for line in figure.details:
                print(line)
    width = max(len(f"{figure.key}: {figure.title}") for figure in figures)
    for figure in figures:
        text, verdict = f"{figure.key}: {figure.title}", "ok" if figure.ok else "NOT ok"
        print(
            f"{text:{width}}  {figure.measured:>12}  {figure.goal:>8}  {verdict}",
            file=sys.stderr if details else sys.stdout,
        )


if __name__ == "__main__":
    sys.exit(main())
