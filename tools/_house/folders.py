"""Folders: the most entries in one of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

from .checkout import PACKAGE, Checkout
from .figure import Figure

FOLDERS = (str(PACKAGE), "tests", "benchmarks", "examples", "tools", "docs")
MOST_ENTRIES = 20


def measure(checkout: Checkout) -> Figure:
    """Count the entries of every folder below `FOLDERS`: files that git tracks or would track, and subfolders."""
    entries: dict[PurePosixPath, set[PurePosixPath]] = defaultdict(set)
    for top in map(PurePosixPath, FOLDERS):
        for path in checkout.below(top):
            for entry in (path, *path.parents):
                if entry == top:
                    break
                entries[entry.parent].add(entry)
    most = max(map(len, entries.values()), default=0)
    large = sorted((-len(held), str(folder)) for folder, held in entries.items() if len(held) > MOST_ENTRIES)
    details = tuple(f"{folder}: {-count} entries" for count, folder in large)
    title = f"most entries in one folder ({len(large)} over {MOST_ENTRIES})"
    return Figure("folders", title, most, f"<= {MOST_ENTRIES}", most <= MOST_ENTRIES, details)
