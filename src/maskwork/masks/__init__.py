"""WHAT MAY BE SEEN: masks as immutable expressions, and masks bound to a grid. NumPy only."""

from ._atoms import causal, empty, full, padding, prefix, sinks, sliding_window
from ._bound import BoundMask
from ._diff import Diff
from ._document import document, within
from ._explanation import Explanation
from ._grammar import parse
from ._grid import Grid
from ._mask import Mask
from ._verdict import Verdict

__all__ = [
    "BoundMask",
    "Diff",
    "Explanation",
    "Grid",
    "Mask",
    "Verdict",
    "causal",
    "document",
    "empty",
    "full",
    "padding",
    "parse",
    "prefix",
    "sinks",
    "sliding_window",
    "within",
]
