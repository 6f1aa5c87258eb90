"""WHERE: exact geometry, as per-row lists of half-open key intervals. NumPy only."""

from ._algebra import complement, difference, intersection, union, xor
from ._count import count_tiles
from ._spans import MAX_SLOTS, Spans, check_budget, single

__all__ = [
    "MAX_SLOTS",
    "Spans",
    "check_budget",
    "complement",
    "count_tiles",
    "difference",
    "intersection",
    "single",
    "union",
    "xor",
]
