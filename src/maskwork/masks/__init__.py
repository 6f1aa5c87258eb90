"""WHAT MAY BE SEEN: masks as immutable expressions, and masks bound to a grid. NumPy only."""

from . import recipes
from ._ancestry import tree
from ._atoms import band, causal, empty, full, padding, prefix, sinks, sliding_window
from ._blocks import block_causal, chunked
from ._borders import from_cu_seqlens, from_key_padding_mask
from ._bound import BoundMask
from ._custom import custom, from_dense
from ._diff import Diff
from ._document import document, within
from ._explanation import Explanation
from ._grammar import parse
from ._grid import Grid, missing_q_start
from ._ids import match, real
from ._mask import Mask
from ._neighborhood import neighborhood
from ._per import per_head, per_row
from ._sparse import dilated, global_tokens, random_blocks
from ._verdict import Verdict

__all__ = [
    "BoundMask",
    "Diff",
    "Explanation",
    "Grid",
    "Mask",
    "Verdict",
    "band",
    "block_causal",
    "causal",
    "chunked",
    "custom",
    "dilated",
    "document",
    "empty",
    "from_cu_seqlens",
    "from_dense",
    "from_key_padding_mask",
    "full",
    "global_tokens",
    "match",
    "missing_q_start",
    "neighborhood",
    "padding",
    "parse",
    "per_head",
    "per_row",
    "prefix",
    "random_blocks",
    "real",
    "recipes",
    "sinks",
    "sliding_window",
    "tree",
    "within",
]
