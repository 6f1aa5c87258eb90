"""WHERE: exact geometry, as per-row lists of half-open key intervals. NumPy only."""

from ._algebra import complement, difference, intersection, union, xor
from ._blocks import Blocks, classify
from ._compare import Cell, first_cell, first_common, first_difference, first_outside
from ._count import count_tiles
from ._last_seen import last_seen
from ._reach import REACH_BUDGET, over_heads, reach
from ._runs import BlockRuns
from ._select import from_cells, take_keys, take_rows
from ._spans import MAX_SLOTS, Spans, check_budget, join_rows, single

__all__ = [
    "MAX_SLOTS",
    "REACH_BUDGET",
    "BlockRuns",
    "Blocks",
    "Cell",
    "Spans",
    "check_budget",
    "classify",
    "complement",
    "count_tiles",
    "difference",
    "first_cell",
    "first_common",
    "first_difference",
    "first_outside",
    "from_cells",
    "intersection",
    "join_rows",
    "last_seen",
    "over_heads",
    "reach",
    "single",
    "take_keys",
    "take_rows",
    "union",
    "xor",
]
