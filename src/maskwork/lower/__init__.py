"""Masks into what backends eat. Each lowering equals `b.dense()` cell for cell, or raises."""

from ._block_mask import span_mask_mod, to_block_mask
from ._dense import to_additive, to_dense
from ._graph import outside_graph
from ._hf import HuggingFaceMask, to_hf
from ._memo import bind_outside_graph, lowered
from ._sdpa import SdpaArguments, sdpa_shortcut, to_sdpa
from ._tiles import Pattern, Schedule, Tile, read_schedule, to_tiles
from ._varlen import VarlenArguments, to_varlen

__all__ = [
    "HuggingFaceMask",
    "Pattern",
    "Schedule",
    "SdpaArguments",
    "Tile",
    "VarlenArguments",
    "bind_outside_graph",
    "lowered",
    "outside_graph",
    "read_schedule",
    "sdpa_shortcut",
    "span_mask_mod",
    "to_additive",
    "to_block_mask",
    "to_dense",
    "to_hf",
    "to_sdpa",
    "to_tiles",
    "to_varlen",
]
