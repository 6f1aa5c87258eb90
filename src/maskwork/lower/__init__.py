"""Masks into the inputs of backends. Each lowering equals `b.dense()` cell for cell, or raises.

The names load on first use: `to_code` needs only NumPy, and the others need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._shared.lazy import lazy_exports

if TYPE_CHECKING:
    from ._block_mask import span_mask_mod, to_block_mask
    from ._dense import to_additive, to_dense
    from ._hf import HuggingFaceMask, to_hf
    from ._memo import bind_outside_graph, lowered, outside_graph
    from ._sdpa import SdpaArguments, sdpa_shortcut, to_sdpa
    from ._source.code import CODE_LIBRARIES, to_code
    from ._transforms import transforms
    from ._varlen import VarlenArguments, to_varlen

__all__ = [
    "CODE_LIBRARIES",
    "HuggingFaceMask",
    "SdpaArguments",
    "VarlenArguments",
    "bind_outside_graph",
    "lowered",
    "outside_graph",
    "sdpa_shortcut",
    "span_mask_mod",
    "to_additive",
    "to_block_mask",
    "to_code",
    "to_dense",
    "to_hf",
    "to_sdpa",
    "to_varlen",
    "transforms",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "span_mask_mod": "_block_mask",
        "to_block_mask": "_block_mask",
        "to_additive": "_dense",
        "to_dense": "_dense",
        "outside_graph": "_memo",
        "HuggingFaceMask": "_hf",
        "to_hf": "_hf",
        "bind_outside_graph": "_memo",
        "lowered": "_memo",
        "SdpaArguments": "_sdpa",
        "sdpa_shortcut": "_sdpa",
        "to_sdpa": "_sdpa",
        "transforms": "_transforms",
        "VarlenArguments": "_varlen",
        "to_varlen": "_varlen",
        "CODE_LIBRARIES": "_source.code",
        "to_code": "_source.code",
    },
    # The schedule of the tiled kernel is the kernel's own.
    moved={"to_tiles": "maskwork.kernels"},
)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})
