"""`padding`: real keys by their number, padded on the right or on the left."""

from __future__ import annotations

from typing import Any

from ...errors import MaskError
from ...spans import Spans, single
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec
from .positions import KeyBound, as_bound

# lengths = 3    real real real pad  pad       keys [0, 3)
# starts = 2     pad  pad  real real real      keys [2, kv_len)


class _RightPadding(KeyBound):
    """The mask of `padding(lengths)`: real keys are [0, bound)."""

    def _spec(self) -> Spec:
        return Spec("padding", (self.bound,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, self.bound.reshape(-1, 1, 1), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        bound = self._bound_of(cell)
        return _reason(cell, cell.key < bound, f"there are {bound} of them")


class _LeftPadding(KeyBound):
    """The mask of `padding(starts=…)`: real keys are [bound, kv_len)."""

    def _spec(self) -> Spec:
        return Spec("padding", keywords={"starts": self.bound})

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(self.bound.reshape(-1, 1, 1), kv_len, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        bound = self._bound_of(cell)
        return _reason(cell, cell.key >= bound, f"they start at {bound}")


def _reason(cell: Cell, is_real: bool, extent: str) -> str:
    return f"key {cell.key} is {'one' if is_real else 'none'} of the real keys, {extent}"


@atom(
    Form("padding(lengths)", "k < lengths", "real keys first, padding on the right"),
    Form("padding(starts=…)", "k >= starts", "padding on the left"),
)
def padding(lengths: Any = None, *, starts: Any = None) -> Mask:
    """Allow real keys: `k < lengths[b]` (padding on the right) or `k >= starts[b]` (padding on the left).

    `padding` puts no condition on queries: a padded query still has a row, whose output nobody should score.

    Args:
        lengths: int `(B,)`, or an int; the number of real tokens.
        starts: int `(B,)`, or an int; the position of the first real token.

    Raises:
        MaskError: both are given, or neither.

    | library | its way to say `padding(n)` |
    | --- | --- |
    | Hugging Face `attention_mask`, a 0/1 array | `n = attention_mask.sum(-1)` if padded on the right; else `starts` |
    | flash-attention `seqused_k`, `cache_seqlens` | `n`, with `q_start=n - q_len` where queries count |
    | `nn.MultiheadAttention` `key_padding_mask` | True from `n` on: True means ignore |

    >>> import maskwork as mw
    >>> (mw.causal() & mw.padding([1, 3])).bind(3).shape
    (2, 1, 3, 3)
    """
    if (lengths is None) == (starts is None):
        fault = "neither" if lengths is None else "both"
        raise MaskError(f"padding takes either lengths (right) or starts (left), got {fault}; pass exactly one")
    if lengths is not None:
        return _RightPadding(as_bound(lengths, "padding(lengths)"))
    return _LeftPadding(as_bound(starts, "padding(starts)"))
