"""WHERE: exact geometry, as per-row lists of half-open key intervals. NumPy only."""

from ._algebra import complement, difference, intersection, union, xor
from ._build import CHUNK_CELLS, by_chunks, distinct, gather_runs, list_runs, scan_rows, take_rows
from ._count import count_tiles
from ._spans import MAX_SLOTS, Spans, check_budget, single

__all__ = [
    "CHUNK_CELLS",
    "MAX_SLOTS",
    "Spans",
    "by_chunks",
    "check_budget",
    "complement",
    "count_tiles",
    "difference",
    "distinct",
    "gather_runs",
    "intersection",
    "list_runs",
    "scan_rows",
    "single",
    "take_rows",
    "union",
    "xor",
]
