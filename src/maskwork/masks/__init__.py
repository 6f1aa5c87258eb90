"""WHAT MAY BE SEEN: masks as immutable expressions, and masks bound to a grid. NumPy only."""

from ._atoms import band, causal, empty, full, padding, prefix, sinks, sliding_window
from ._blocks import block_causal, chunked
from ._borders import from_cu_seqlens, from_key_padding_mask
from ._bound import BoundMask
from ._document import document, within
from ._grammar import parse
from ._grid import Grid
from ._ids import match, real
from ._mask import Mask
from ._per import per_head, per_row
from ._verdict import Verdict

__all__ = [
    "BoundMask",
    "Grid",
    "Mask",
    "Verdict",
    "band",
    "block_causal",
    "causal",
    "chunked",
    "document",
    "empty",
    "from_cu_seqlens",
    "from_key_padding_mask",
    "full",
    "match",
    "padding",
    "parse",
    "per_head",
    "per_row",
    "prefix",
    "real",
    "sinks",
    "sliding_window",
    "within",
]
