"""Other libraries' conventions, converted at the border: `from_cu_seqlens` and `from_key_padding_mask`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import MaskError
from .._arrays import as_bools, as_ints
from .._mask import Mask
from .documents import document
from .ids import real


def from_cu_seqlens(cu: Any) -> Mask:
    """flash-attention's cumulative lengths of packed sequences, as `document(lengths)`.

    Args:
        cu: int `(documents + 1,)`: 0, then the end of each document. A CUDA tensor costs one copy to the host.

    It says nothing about order: flash-attention's `causal=True` is `causal() & from_cu_seqlens(cu)`.

    Raises:
        MaskError: `cu` does not start at 0, or decreases.

    >>> import maskwork as mw
    >>> mw.from_cu_seqlens([0, 2, 5])
    document([2, 3])
    """
    ends = as_ints(cu, "from_cu_seqlens(cu)", ndims=(1,))
    if not len(ends) or ends[0] != 0:
        found = f"{ends[0]}" if len(ends) else "no entries"
        raise MaskError(f"cumulative lengths start at 0, got {found}; prepend a 0, or pass lengths to mw.document")
    lengths = np.diff(ends)
    if (lengths < 0).any():
        at = int(np.flatnonzero(lengths < 0)[0])
        raise MaskError(
            f"cumulative lengths never decrease, entry {at + 1} is {ends[at + 1]} after {ends[at]}; pass lengths that "
            "are not cumulative to mw.document"
        )
    return document(lengths)


def from_key_padding_mask(m: Any) -> Mask:
    """PyTorch's `key_padding_mask`, where True means *ignore*: `real(~m)`.

    Args:
        m: bool, or the integers 0 and 1, `(K,)` or `(B, K)`, True at padding. For Hugging Face's `attention_mask`,
            where 1 means a token, use `real`.

    >>> import maskwork as mw
    >>> mw.from_key_padding_mask([False, False, True])
    real([1, 1, 0])
    """
    return real(~as_bools(m, "from_key_padding_mask(m)", ndims=(1, 2)))
