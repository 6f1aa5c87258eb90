"""WHERE: exact geometry, as per-row lists of half-open key intervals. NumPy only."""

from ._algebra import complement, difference, intersection, union, xor
from ._blocks import Blocks, classify
from ._build import CHUNK_CELLS, by_chunks, distinct, gather_runs, list_runs, scan_rows, take_rows
from ._compare import FirstCell, first_common, first_difference, first_outside
from ._count import count_tiles
from ._last_seen import last_seen
from ._lists import merge_runs, repeat_ranges
from ._reach import REACH_BUDGET, over_heads, reach
from ._runs import BlockRuns, Int32s, Ints, subtract
from ._select import pick_rows, take_keys
from ._spans import Planes, Spans, check_budget, join_batch, join_rows, single

__all__ = [
    "CHUNK_CELLS",
    "REACH_BUDGET",
    "BlockRuns",
    "Blocks",
    "FirstCell",
    "Int32s",
    "Ints",
    "Planes",
    "Spans",
    "by_chunks",
    "check_budget",
    "classify",
    "complement",
    "count_tiles",
    "difference",
    "distinct",
    "first_common",
    "first_difference",
    "first_outside",
    "gather_runs",
    "intersection",
    "join_batch",
    "join_rows",
    "last_seen",
    "list_runs",
    "merge_runs",
    "over_heads",
    "pick_rows",
    "reach",
    "repeat_ranges",
    "scan_rows",
    "single",
    "subtract",
    "take_keys",
    "take_rows",
    "union",
    "xor",
]
