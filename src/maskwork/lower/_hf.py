"""Masks for Hugging Face transformers: its 4-D attention masks, and the function that its mask factories call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils import _pytree

from ..errors import CannotExpress
from ..masks import BoundMask
from ._block_mask import span_mask_mod, span_tables
from ._dense import to_additive, to_dense
from ._memo import lowered, require_bound

MaskFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class HuggingFaceMask:
    """What `to_hf` returns: one mask in the three forms that transformers eats, each made when it is asked for.

    A pytree, whose one leaf is an empty tensor on `device`: moving it moves what is made.
    """

    bound: BoundMask
    device: torch.device

    @property
    def allowed(self) -> torch.Tensor:
        """bool `(B, H, Q, K)`, True = may attend: a model's `attention_mask` under `attn_implementation="sdpa"`."""
        return to_dense(self.bound, self.device)

    def additive(
        self, dtype: torch.dtype = torch.float32, *, fill: Literal["-inf", "finfo.min"] = "-inf"
    ) -> torch.Tensor:
        """`(B, H, Q, K)` to be added to the scores: a model's `attention_mask` under `"eager"`; see `to_additive`.

        transformers itself fills with `finfo.min`, under which an empty row attends to everything.
        """
        return to_additive(self.bound, dtype, self.device, fill=fill)

    @property
    def mask_function(self) -> MaskFunction:
        """`(b, h, q, k) -> bool` tensor, positions absolute: `mask_function` of transformers' `sdpa_mask` and
        `eager_mask`, `and_mask_function` and `or_mask_function` of its `create_causal_mask`.

        Scalars under vmap and broadcast indices both work. Keys beyond the grid are not visible; a query outside it
        is an IndexError, never a guess. transformers asks about head 0 and uses the answer for all heads, so that a
        mask which differs between heads raises `CannotExpress`.
        """
        if self.bound.shape[1] > 1:
            raise CannotExpress(
                "transformers asks a mask function about head 0 alone, this mask differs between heads: "
                f"{self.bound!r}; pass .allowed as a 4-D attention_mask, or use maskwork's 'reference' or 'sdpa'"
            )
        return lowered(self.bound, ("hf function", self.device), lambda: _mask_function(self.bound, self.device))


def to_hf(b: BoundMask, device: torch.device | str = "cpu") -> HuggingFaceMask:
    """`b` for Hugging Face transformers (5.x): 4-D bool, 4-D additive, and mask function.

    A 4-D `attention_mask` is handed to the attention layers as it is, with no causal mask added, and its first
    axis broadcasts over the batch. The same cells by way of the mask function:

        masking_utils.sdpa_mask(batch, q_len, kv_len, q_offset=q_start, mask_function=to_hf(b).mask_function,
                                allow_is_causal_skip=False)

    >>> import torch, maskwork as mw
    >>> hf = mw.lower.to_hf(mw.causal().bind(2, 3, q_start=1))
    >>> hf.allowed
    tensor([[[[ True,  True, False],
              [ True,  True,  True]]]])
    >>> hf.mask_function(*torch.tensor([0, 0, 1, 2]))   # batch row 0, head 0: may query 1 see key 2?
    tensor(False)
    """
    require_bound(b)
    return HuggingFaceMask(b, torch.device(device))


_pytree.register_pytree_node(
    HuggingFaceMask,
    lambda made: ([torch.empty(0, device=made.device)], made.bound),
    lambda leaves, bound: HuggingFaceMask(bound, next(iter(leaves)).device),
)


def _mask_function(b: BoundMask, device: torch.device) -> MaskFunction:
    inner = span_mask_mod(*span_tables(b, b.grid.q_len, device))
    q_start, rows = b.grid.q_start, b.grid.q_len

    def mask_function(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        row = q - q_start
        # a negative index would silently count from the end; `rows` is out of bounds and says so
        return inner(b, h, torch.where(row < 0, rows, row), k)

    return mask_function
