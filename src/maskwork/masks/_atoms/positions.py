"""Atoms of positions, whose rows are one interval: causal, windows, bands, sinks and prefixes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._shared.numbers import is_integer
from ...errors import MaskError
from ...spans import Spans, single
from .._arrays import LARGEST, Ints, as_int, as_ints, batch_of
from .._joined import Constant
from .._mask import Mask, Queries, common_batch, common_heads
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec


@atom(Form("full()", "", "always"))
def full() -> Mask:
    """Allow every key: `True` everywhere, an encoder's mask (Devlin et al. 2018, BERT).

    In SDPA and flash-attention, leave out `attn_mask` and `causal`.

    >>> import maskwork as mw
    >>> mw.full().bind(2, 3).allowed
    6
    """
    return Constant(True)


@atom(Form("empty()", "", "never"))
def empty() -> Mask:
    """Allow no key: every row is empty, and attention over an empty row is 0 by definition.

    In other libraries an empty row may be NaN (a softmax of `-inf` alone) or the mean of all values (an additive mask
    of `finfo.min`). `empty` is useful as a part: a document that nobody reads, a head that is switched off.

    >>> import maskwork as mw
    >>> mw.empty() | mw.causal()
    causal
    """
    return Constant(False)


class _Causal(Mask):
    """The mask of `causal`."""

    relative = True

    def _spec(self) -> Spec:
        return Spec("causal")

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, queries + 1, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return cell.distance()


@atom(Form("causal()", "k <= q", "the query's own key and all before it"))
def causal() -> Mask:
    """Allow `k <= q`: each token sees itself and the past (Vaswani et al. 2017, the decoder's mask).

    Positions are absolute. Where `q_len != kv_len`, `bind` requires `q_start` and guesses nothing: PyTorch's SDPA
    aligns the triangle top-left (`q_start=0`), flash-attention bottom-right (`q_start=kv_len - q_len`).

    >>> import maskwork as mw
    >>> mw.causal().bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return _Causal()


#: A width is an int for all, int64 `(H,)` with one for each head, or `(B, H)`, where 1 stands for all.
Width = int | Ints


def _heads_of(width: Width | None) -> int:
    return 1 if width is None or isinstance(width, int) else width.shape[-1]


def _batch_of(width: Width | None) -> int:
    return 1 if width is None or isinstance(width, int) else batch_of(width)


def _plane(width: Width) -> Width:
    """Return a width that broadcasts against queries `(B, H, Q)`."""
    return width if isinstance(width, int) else np.atleast_2d(width)[:, :, None]


def _width_of(width: Width, cell: Cell) -> int:
    """Return the width of the cell's batch row and head."""
    if isinstance(width, int):
        return width
    rows = np.atleast_2d(width)
    return int(rows[cell.batch if len(rows) > 1 else 0, cell.head if rows.shape[1] > 1 else 0])


class _SlidingWindow(Mask):
    """The mask of `sliding_window`."""

    relative = True

    def __init__(self, size: Width) -> None:
        self.size = size

    def _spec(self) -> Spec:
        return Spec("sliding_window", (self.size,))

    @property
    def batch(self) -> int:
        return _batch_of(self.size)

    @property
    def heads(self) -> int:
        return _heads_of(self.size)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(queries + 1 - _plane(self.size), queries + 1, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return f"{cell.distance()}, window sees {_width_of(self.size, cell)}"


@atom(Form("sliding_window(size)", "q - size < k <= q", "the last `size` keys, the query's own included"))
def sliding_window(size: Any) -> Mask:
    """Allow `q - size < k <= q`: the last `size` keys, the query's own included (Mistral 7B, Jiang et al. 2023).

    Args:
        size: number of keys that a query sees, at least 1; an int, int `(H,)` with one for each query head, or
            `(B, H)` with one for each batch row and head. `(B, 1)` has one for each batch row.

    Raises:
        MaskError: `size` is not an integer of at least 1. A configuration's 0 or None turns the window off: leave the
            term out.

    | library | its way to say `sliding_window(W)` |
    | --- | --- |
    | Mistral, Hugging Face `sliding_window` | `W` |
    | xFormers `.make_local_attention(W)` | `W` |
    | flash-attention `window_size=(left, right)` | `(W - 1, 0)` |
    | attn_gym `generate_sliding_window(W)` | `W - 1`: it allows `q - k <= W` |
    | Longformer `attention_window` (both sides, one-sided half) | half of it is `W - 1` |

    >>> import maskwork as mw
    >>> mw.sliding_window(2).bind(4).spans.row(3)
    [(2, 4)]
    """
    name = "sliding_window(size)"
    if size is None or (is_integer(size) and int(size) < 1):
        raise MaskError(
            f"{name} must be an integer of at least 1, got {size}; where a configuration turns the window off, leave "
            "it out"
        )
    width = _as_width(size, name, None)
    if not isinstance(width, int) and width.min() < 1:
        raise MaskError(
            f"{name} must be at least 1, got {width.min()}; a head or row without a window gets the sequence's length"
        )
    return _SlidingWindow(width)


def _as_width(value: Any, name: str, minimum: int | None) -> Width:
    """Return a width as an int, or as an array with one for each head, or for each batch row and head."""
    if not isinstance(value, (list, tuple)) and not getattr(value, "ndim", 0):
        return as_int(value, name, minimum=-LARGEST if minimum is None else minimum)
    hint = "pass one for each batch row and head"
    widths = as_ints(value, name, ndims=(1, 2), minimum=minimum, hint=hint)
    if not widths.size:
        raise MaskError(f"{name} takes one number for each head, got none; pass an int for all heads")
    return widths if widths.size > 1 else int(widths.flat[0])


class _Band(Mask):
    """The mask of `band`, where None is no bound."""

    relative = True

    def __init__(self, left: Width | None, right: Width | None) -> None:
        self.left, self.right = left, right
        _ = self.batch, self.heads  # raises if the sides have different ones

    def _spec(self) -> Spec:
        return Spec("band", (self.left, self.right))

    @property
    def batch(self) -> int:
        return common_batch(_batch_of(self.left), _batch_of(self.right))

    @property
    def heads(self) -> int:
        return common_heads(_heads_of(self.left), _heads_of(self.right))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # None is no bound: the row starts at the first key, or ends with the last.
        start = 0 if self.left is None else queries - _plane(self.left)
        return single(start, kv_len if self.right is None else queries + 1 + _plane(self.right), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        left, right = ("all" if side is None else f"{_width_of(side, cell)}" for side in (self.left, self.right))
        return f"{cell.distance()}, band sees {left} behind and {right} ahead"


@atom(
    Form(
        "band(left, right)",
        "q - left <= k <= q + right",
        "`left` keys before the query's own and `right` after it; None is unbounded",
    )
)
def band(left: Any, right: Any) -> Mask:
    """Allow `q - left <= k <= q + right`: both ends inclusive, as flash-attention's `window_size` (Dao 2023).

    Args:
        left: keys before the query's own, at least 0; None = unbounded. An int, int `(H,)` with one for each query
            head, or `(B, H)` with one for each batch row and head; `(B, 1)` has one for each batch row.
        right: keys after the query's own, likewise.

    Raises:
        MaskError: a side is below 0: flash-attention's -1, which is unbounded there, is None here.

    | library | its way to say `band(left, right)` |
    | --- | --- |
    | flash-attention `window_size` | `(left, right)`, with -1 for None |
    | `causal()` / `sliding_window(W)` | `band(None, 0)` / `band(W - 1, 0)` |
    | Longformer, ModernBERT: a window of W round the query | `band(W // 2, W // 2)`, which is W + 1 keys |
    | Hugging Face's masks of both directions, `sliding_window=W` | `band(W, W)`: `abs(q - k) <= W`, 2 W + 1 keys |

    >>> import maskwork as mw
    >>> mw.band(1, 0).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    low, high = (_as_side(value, f"band({name})") for name, value in (("left", left), ("right", right)))
    # Without bounds the band is `full`, so that equal masks are equal values.
    return full() if low is high is None else _Band(low, high)


def _as_side(value: Any, name: str) -> Width | None:
    """Return one side of a band, None = unbounded, after checking it."""
    if value is None:
        return None
    width = _as_width(value, name, None)
    lowest = width if isinstance(width, int) else int(width.min())
    if lowest < 0:
        fix = "unbounded, flash-attention's -1, is None" if lowest == -1 else "move a band with .shift(k=…)"
        raise MaskError(f"{name} must be an integer of at least 0, got {lowest}; {fix}")
    return width


class _Sinks(Mask):
    """The mask of `sinks`."""

    depends_on_query = False

    def __init__(self, size: int) -> None:
        self.size = size

    def _spec(self) -> Spec:
        return Spec("sinks", (self.size,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, self.size, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return f"key {cell.key} is {'' if cell.key < self.size else 'not '}among the first {self.size} keys"


@atom(Form("sinks(n)", "k < n", "the first `n` keys"))
def sinks(n: int) -> Mask:
    """Allow `k < n`: the first `n` keys, which streaming models keep (StreamingLLM, Xiao et al. 2023).

    `sinks` puts no condition on the query: write `causal() & (sliding_window(W) | sinks(n))`.

    Args:
        n: number of sink tokens, at least 0. StreamingLLM's `start_size` and Hugging Face's `num_sink_tokens` count
            alike (`SinkCache`). gpt-oss's "sinks" are something else: a learned logit in each row's softmax, not keys.

    >>> import maskwork as mw
    >>> (mw.causal() & (mw.sliding_window(2) | mw.sinks(1))).bind(5).spans.row(4)
    [(0, 1), (3, 5)]
    """
    return _Sinks(as_int(n, "sinks(n)", minimum=0))


class KeyBound(Mask):
    """The base of `prefix` and `padding`: a range of keys up to or from a bound, one for all batch rows or one each."""

    depends_on_query = False

    def __init__(self, bound: Ints) -> None:
        self.bound = bound

    @property
    def batch(self) -> int:
        return batch_of(self.bound, ndim=0)

    def _bound_of(self, cell: Cell) -> int:
        return int(self.bound if self.bound.ndim == 0 else self.bound[cell.batch])


class _Prefix(KeyBound):
    """The mask of `prefix`."""

    def _spec(self) -> Spec:
        return Spec("prefix", (self.bound,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, self.bound.reshape(-1, 1, 1), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        bound = self._bound_of(cell)
        return f"key {cell.key} is {'in' if cell.key < bound else 'beyond'} the prefix of {bound} keys"


@atom(Form("prefix(length)", "k < length", "the first `length` keys; one length, or one per batch row"))
def prefix(length: Any) -> Mask:
    """Allow `k < length`: keys that every query sees, both ways (prefix-LM: Raffel et al. 2020, T5).

    Args:
        length: an int, or int `(B,)` with one prefix per batch row.

    Alone, `prefix` lets every query see the prefix and nothing else. What other libraries call a prefix-LM mask
    (FlexAttention's `prefix_lm`, PaliGemma's `token_type_ids` of 0) is `causal() | prefix(n)`: see
    `mw.recipes.prefix_lm`.

    >>> import maskwork as mw
    >>> (mw.causal() | mw.prefix(2)).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    """
    return _Prefix(as_bound(length, "prefix(length)"))


_NOT_MARKS = "pass one number for each batch row here, or marks of 0 and 1 for each key to mw.real"


def as_bound(value: Any, name: str) -> Ints:
    """Return a bound on keys as int64 of shape `()` or `(B,)`, after checking it."""
    bound = as_ints(value, name, ndims=(0, 1), hint=_NOT_MARKS)
    if not bound.size:
        raise MaskError(f"{name} takes one number for each batch row, got none; pass an int for all rows")
    return bound
