"""WHAT MAY BE SEEN: masks as immutable expressions, and masks bound to a grid. NumPy only."""

from . import recipes
from ._ancestry import tree
from ._atoms import causal, empty, full, padding, prefix, sinks, sliding_window
from ._bound import BoundMask
from ._custom import custom, from_dense
from ._diff import Diff
from ._document import document, within
from ._explanation import Explanation
from ._grammar import parse
from ._grid import Grid
from ._mask import Mask
from ._neighborhood import neighborhood
from ._sparse import dilated, global_tokens, random_blocks
from ._verdict import Verdict

__all__ = [
    "BoundMask",
    "Diff",
    "Explanation",
    "Grid",
    "Mask",
    "Verdict",
    "causal",
    "custom",
    "dilated",
    "document",
    "empty",
    "from_dense",
    "full",
    "global_tokens",
    "neighborhood",
    "padding",
    "parse",
    "prefix",
    "random_blocks",
    "recipes",
    "sinks",
    "sliding_window",
    "tree",
    "within",
]
