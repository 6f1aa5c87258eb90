"""Folders: the most entries in one of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

from .checkout import PACKAGE, Checkout
from .figure import Figure

FOLDERS = (str(PACKAGE), "tests", "benchmarks", "examples", "tools", "docs")
MOST_ENTRIES = 20
#: The package's own folder holds the floors, which the design lists one by one, and `tests` mirrors it. Their entries
#: are printed and not judged: the design lists more than 20 floors.
LISTED = (str(PACKAGE), "tests")


def measure(checkout: Checkout) -> Figure:
    """Count the entries of every folder below `FOLDERS`: files that git tracks or would track, and subfolders."""
    entries: dict[PurePosixPath, set[PurePosixPath]] = defaultdict(set)
    for top in map(PurePosixPath, FOLDERS):
        for path in checkout.below(top):
            for entry in (path, *path.parents):
                if entry == top:
                    break
                entries[entry.parent].add(entry)
    counts = {str(folder): len(held) for folder, held in entries.items()}
    listed = {folder: counts.pop(folder) for folder in LISTED if folder in counts}
    most = max(counts.values(), default=0)
    large = sorted((-count, folder) for folder, count in counts.items() if count > MOST_ENTRIES)
    details = (
        *(f"{folder}: {-count} entries" for count, folder in large),
        *(f"{folder}: {count} entries, the floors of the design" for folder, count in listed.items()),
    )
    floors = ", ".join(f"{folder} {count}" for folder, count in listed.items())
    title = f"most entries in one folder ({len(large)} over {MOST_ENTRIES}; the floors themselves: {floors})"
    return Figure("folders", title, most, f"<= {MOST_ENTRIES}", most <= MOST_ENTRIES, details)
