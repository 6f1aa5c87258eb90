"""Masks into what backends eat. Each lowering equals `b.dense()` cell for cell, or raises."""

from ._dense import to_additive, to_dense
from ._memo import bind_outside_graph, lowered
from ._sdpa import sdpa_shortcut, to_sdpa

__all__ = ["bind_outside_graph", "lowered", "sdpa_shortcut", "to_additive", "to_dense", "to_sdpa"]
