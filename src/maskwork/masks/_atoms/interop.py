"""Other libraries' conventions, converted at the border: `from_cu_seqlens` and `from_key_padding_mask`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import MaskError
from .._arrays import as_bools, as_ints
from .._mask import Mask
from .._text.registry import Form, atom
from .documents import document
from .real import real


@atom(Form("from_cu_seqlens(cu)", "", "`document(lengths)`, of flash-attention's cumulative lengths"))
def from_cu_seqlens(cu: Any) -> Mask:
    """Convert flash-attention's cumulative lengths of packed sequences to `document(lengths)`.

    The result puts no condition on order: flash-attention's `causal=True` is `causal() & from_cu_seqlens(cu)`.

    Args:
        cu: int `(documents + 1,)`: 0, then the end of each document. A CUDA tensor costs one copy to the host.

    Raises:
        MaskError: `cu` does not start at 0, or decreases.

    >>> import maskwork as mw
    >>> mw.from_cu_seqlens([0, 2, 5])
    document([2, 3])
    """
    ends = as_ints(cu, "from_cu_seqlens(cu)", ndims=(1,))
    if not len(ends) or ends[0] != 0:
        fault = f"{ends[0]}" if len(ends) else "no entries"
        raise MaskError(f"cumulative lengths start at 0, got {fault}; prepend a 0, or pass lengths to mw.document")
    # ends      0   2       5      the cumulated lengths
    # lengths     2     3
    lengths = np.diff(ends)
    if (lengths < 0).any():
        before = int(np.flatnonzero(lengths < 0)[0])
        raise MaskError(
            f"cumulative lengths never decrease, got {ends[before + 1]} at [{before + 1}] after {ends[before]}; pass "
            "lengths that are not cumulative to mw.document"
        )
    return document(lengths)


@atom(Form("from_key_padding_mask(m)", "", "`real(~m)`, of PyTorch's mask, where True means *ignore*"))
def from_key_padding_mask(m: Any) -> Mask:
    """Convert PyTorch's `key_padding_mask`, where True means *ignore*, to `real(~m)`.

    Args:
        m: bool, or the integers 0 and 1, `(K,)` or `(B, K)`, True at padding. For Hugging Face's `attention_mask`,
            where 1 means a token, use `real`.

    >>> import maskwork as mw
    >>> mw.from_key_padding_mask([False, False, True])
    real([1, 1, 0])
    """
    return real(~as_bools(m, "from_key_padding_mask(m)", ndims=(1, 2)))
