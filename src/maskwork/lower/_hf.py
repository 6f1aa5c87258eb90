"""Masks for Hugging Face transformers: 4-D attention masks, and the function that its mask factories call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils import _pytree

from ..errors import CannotExpress
from ..masks import BoundMask
from ._block_mask import TensorMaskMod, span_mask_mod, span_tables
from ._dense import to_additive, to_dense
from ._memo import lowered, require_bound


@dataclass(frozen=True)
class HuggingFaceMask:
    """One mask in the three forms that transformers accepts, each made on first use. `to_hf` returns it.

    It is a pytree with one leaf, an empty tensor on `device`: moving the leaf moves the forms.

    Attributes:
        bound: the mask on its grid.
        device: the device of the forms.
    """

    bound: BoundMask
    device: torch.device

    @property
    def allowed(self) -> torch.Tensor:
        """The `attention_mask` of a model with `attn_implementation="sdpa"`: bool `(B, H, Q, K)`, True = attend."""
        return to_dense(self.bound, self.device)

    def additive(
        self, dtype: torch.dtype = torch.float32, *, fill: Literal["-inf", "finfo.min"] = "finfo.min"
    ) -> torch.Tensor:
        """Return the `attention_mask` of a model with `"eager"`, added to the scores: `(B, H, Q, K)`.

        The fill is the one of transformers itself. A row that sees nothing, such as padding on the left, then attends
        to everything, and nobody should score it. With `"-inf"` such a row is NaN, and so are the *real* rows of the
        next layer: 0 times NaN is NaN. See `to_additive`.
        """
        return to_additive(self.bound, dtype, self.device, fill=fill)

    @property
    def mask_function(self) -> TensorMaskMod:
        """The function `(b, h, q, k) -> bool` tensor of absolute positions that transformers' mask factories take.

        It is the `mask_function` of `sdpa_mask` and `eager_mask`, and the `and_mask_function` or `or_mask_function` of
        `create_causal_mask`. Scalars under vmap and broadcast indices both work. Keys beyond the grid are not visible;
        a query outside the grid is an IndexError, never a guess. transformers calls the function for head 0 and uses
        the result for all heads, so that a mask which differs between heads raises `CannotExpress`.
        """
        if self.bound.shape[1] > 1:
            raise CannotExpress(
                "transformers calls a mask function for head 0 alone, got a mask that differs between heads: "
                f"{self.bound!r}; pass .allowed as a 4-D attention_mask, or use maskwork's 'reference' or 'sdpa'"
            )
        return lowered(self.bound, ("hf function", self.device), lambda: _mask_function(self.bound, self.device))


def to_hf(b: BoundMask, device: torch.device | str = "cpu") -> HuggingFaceMask:
    """Convert `b` for Hugging Face transformers (5.x): 4-D bool mask, 4-D additive mask, and mask function.

    transformers passes a 4-D `attention_mask` to the attention layers unchanged, adds no causal mask, and broadcasts
    the first axis over the batch. The mask function gives the same cells:

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
    lambda mask: ([torch.empty(0, device=mask.device)], mask.bound),
    lambda leaves, bound: HuggingFaceMask(bound, next(iter(leaves)).device),
)


def _mask_function(b: BoundMask, device: torch.device) -> TensorMaskMod:
    inner = span_mask_mod(*span_tables(b, b.grid.q_len, device))
    rows, starts = b.grid.q_len, torch.from_numpy(b.grid.starts).to(device)
    alike = len(starts) == 1

    def mask_function(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        row = q - (starts[0] if alike else starts[b])
        # A negative index would silently count from the end; index `rows` is out of bounds and raises.
        return inner(b, h, torch.where(row < 0, rows, row), k)

    return mask_function
