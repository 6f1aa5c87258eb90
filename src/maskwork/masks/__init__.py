"""WHAT MAY BE SEEN: masks as immutable expressions, and masks bound to a grid. NumPy only."""

from . import _operators as _operators  # registers them
from . import recipes
from ._atoms.block_table import blocks
from ._atoms.blocks import block_causal, chunked
from ._atoms.custom import custom, from_dense
from ._atoms.documents import document, within
from ._atoms.edges import edges
from ._atoms.ids import match
from ._atoms.interop import from_additive, from_cu_seqlens, from_key_padding_mask, from_mha
from ._atoms.intervals import from_key_bounds, from_spans
from ._atoms.neighborhood import neighborhood
from ._atoms.packed import packed
from ._atoms.padding import padding
from ._atoms.per import per_head, per_row
from ._atoms.positions import band, causal, empty, full, prefix, sinks, sliding_window
from ._atoms.real import real, real_queries
from ._atoms.rectangles import rectangles
from ._atoms.sparse import dilated, global_tokens, random_blocks
from ._atoms.tree import tree
from ._bound import BoundMask
from ._grid import Grid, QStart, as_q_start, missing_q_start
from ._mask import Mask
from ._questions.diff import Diff
from ._questions.explain import Explanation
from ._questions.verdict import Verdict
from ._text.grammar import parse

__all__ = [
    "BoundMask",
    "Diff",
    "Explanation",
    "Grid",
    "Mask",
    "QStart",
    "Verdict",
    "as_q_start",
    "band",
    "block_causal",
    "blocks",
    "causal",
    "chunked",
    "custom",
    "dilated",
    "document",
    "edges",
    "empty",
    "from_additive",
    "from_cu_seqlens",
    "from_dense",
    "from_key_bounds",
    "from_key_padding_mask",
    "from_mha",
    "from_spans",
    "full",
    "global_tokens",
    "match",
    "missing_q_start",
    "neighborhood",
    "packed",
    "padding",
    "parse",
    "per_head",
    "per_row",
    "prefix",
    "random_blocks",
    "real",
    "real_queries",
    "recipes",
    "rectangles",
    "sinks",
    "sliding_window",
    "tree",
    "within",
]
