"""Comparison of a mask with the `mask_mod` of another library, cell by cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_mask

import maskwork as mw

N = 24
DOCUMENTS = torch.repeat_interleave(torch.arange(4), torch.tensor([5, 9, 3, 7]))
ISLANDS = torch.tensor([[-1] * 3 + [0] * 6 + [-1] * 4 + [1] * 8 + [-1] * 3, [0] * 12 + [1] * 12])


def assert_same_cells(
    mask: mw.Mask,
    mask_mod: Callable[..., torch.Tensor],
    q_len: int = N,
    kv_len: int = N,
    q_start: int = 0,
    *,
    q_first: int | None = None,
) -> None:
    """Assert that both allow the same cells of `q_len` queries from position `q_start` on and `kv_len` keys.

    `create_mask` calls the function on every cell, with `q_first` as the first query (None: `q_start`).
    """
    first = q_start if q_first is None else q_first

    def shifted_mod(b, h, q, k):
        return mask_mod(b, h, q + first, k)

    theirs = create_mask(shifted_mod, mask.batch, mask.heads, q_len, kv_len, device="cpu").numpy()
    ours = mask.bind(q_len, kv_len, q_start=q_start).dense()
    assert np.array_equal(np.broadcast_to(ours, theirs.shape), theirs)
