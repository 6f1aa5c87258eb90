"""Masks into what backends eat. Each lowering equals `b.dense()` cell for cell, or raises."""

from ._block_mask import span_mask_mod, to_block_mask
from ._dense import to_additive, to_dense
from ._sdpa import sdpa_shortcut, to_sdpa

__all__ = ["sdpa_shortcut", "span_mask_mod", "to_additive", "to_block_mask", "to_dense", "to_sdpa"]
