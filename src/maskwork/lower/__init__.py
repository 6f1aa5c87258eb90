"""Masks into what backends eat. Each lowering equals `b.dense()` cell for cell, or raises."""

from ._dense import to_additive, to_dense
from ._sdpa import sdpa_shortcut, to_sdpa

__all__ = ["sdpa_shortcut", "to_additive", "to_dense", "to_sdpa"]
