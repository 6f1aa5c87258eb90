"""The atoms whose rows are one interval: positions, windows, bands, prefixes, padding."""

from __future__ import annotations

from typing import Any

from ...errors import MaskError
from ...spans import Spans, single
from .._arrays import Ints, as_int, as_ints
from .._mask import Constant, Mask, Queries
from .._questions.explain import Cell, Row
from .._text.written import Written


def full() -> Mask:
    """Every key: `True` everywhere. The encoder's mask (Devlin et al. 2018, BERT).

    SDPA and flash-attention say it by leaving `attn_mask` and `causal` out.

    >>> import maskwork as mw
    >>> mw.full().bind(2, 3).allowed
    6
    """
    return Constant(True)


def empty() -> Mask:
    """No key at all; every row is empty, and attention over it is 0 by definition.

    Elsewhere such a row may be NaN (a softmax of `-inf` alone) or the mean of all values (an additive mask of
    `finfo.min`). Its use is as a part: a document that nobody reads, a head that is switched off.

    >>> import maskwork as mw
    >>> mw.empty() | mw.causal()
    causal
    """
    return Constant(False)


class _Causal(Mask):
    """See `causal`."""

    relative = True

    def _written(self) -> Written:
        return Written("causal")

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, queries + 1, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return cell.distance()


def causal() -> Mask:
    """`k <= q`: each token sees itself and the past (Vaswani et al. 2017, the decoder's mask).

    Positions are absolute. Where `q_len != kv_len`, `bind` asks for `q_start` instead of guessing: PyTorch's SDPA
    aligns the triangle top-left (`q_start=0`), flash-attention bottom-right (`q_start=kv_len - q_len`).

    >>> import maskwork as mw
    >>> mw.causal().bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return _Causal()


class _SlidingWindow(Mask):
    """See `sliding_window`."""

    relative = True

    def __init__(self, size: int | Ints) -> None:
        self.size = size

    def _written(self) -> Written:
        return Written("sliding_window", (self.size,))

    @property
    def heads(self) -> int:
        return 1 if isinstance(self.size, int) else len(self.size)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        size = self.size if isinstance(self.size, int) else self.size.reshape(1, -1, 1)
        return single(queries + 1 - size, queries + 1, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        size = self.size if isinstance(self.size, int) else int(self.size[cell.head])
        return f"{cell.distance()}, window sees {size}"


def sliding_window(size: Any) -> Mask:
    """`q - size < k <= q`: the last `size` keys, the query's own included (Mistral 7B, Jiang et al. 2023).

    Args:
        size: number of keys that a query sees, at least 1; an int, or int `(H,)` with one for each query head.

    Raises:
        MaskError: `size` is not an integer of at least 1.

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
    if not isinstance(size, (list, tuple)) and not getattr(size, "ndim", 0):
        return _SlidingWindow(as_int(size, name, minimum=1))
    sizes = as_ints(size, name, ndims=(1,), minimum=1)
    if not len(sizes):
        raise MaskError(f"{name} takes one size for each head, got none; pass an int for all heads")
    return _SlidingWindow(sizes if len(sizes) > 1 else int(sizes[0]))


class _Band(Mask):
    """See `band`."""

    relative = True

    def __init__(self, left: int | None, right: int | None) -> None:
        self.left, self.right = left, right

    def _written(self) -> Written:
        return Written("band", (self.left, self.right))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        start = 0 if self.left is None else queries - self.left
        return single(start, kv_len if self.right is None else queries + 1 + self.right, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        left, right = ("all" if side is None else f"{side}" for side in (self.left, self.right))
        return f"{cell.distance()}, band sees {left} behind and {right} ahead"


def band(left: int | None, right: int | None) -> Mask:
    """`q - left <= k <= q + right`: both ends inclusive, as flash-attention's `window_size` (Dao 2023).

    Args:
        left: keys before the query's own, at least 0; None = unbounded.
        right: keys after it, at least 0; None = unbounded.

    | library | its way to say `band(left, right)` |
    | --- | --- |
    | flash-attention `window_size` | `(left, right)`, with -1 for None |
    | `causal()` / `sliding_window(W)` | `band(None, 0)` / `band(W - 1, 0)` |
    | Longformer, ModernBERT: a window of W round the query | `band(W // 2, W // 2)`, which is W + 1 keys |

    >>> import maskwork as mw
    >>> mw.band(1, 0).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    low, high = (
        None if value is None else as_int(value, f"band({name})", minimum=0)
        for name, value in (("left", left), ("right", right))
    )
    return full() if low is high is None else _Band(low, high)


class _Sinks(Mask):
    """See `sinks`."""

    depends_on_query = False

    def __init__(self, size: int) -> None:
        self.size = size

    def _written(self) -> Written:
        return Written("sinks", (self.size,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, self.size, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return f"key {cell.key} is {'' if cell.key < self.size else 'not '}among the first {self.size} keys"


def sinks(n: int) -> Mask:
    """`k < n`: the first `n` keys, which streaming models keep (StreamingLLM, Xiao et al. 2023).

    It says nothing about the query: write `causal() & (sliding_window(W) | sinks(n))`.

    Args:
        n: number of sink tokens, at least 0. StreamingLLM's `start_size` and Hugging Face's `num_sink_tokens` count
            alike (`SinkCache`). gpt-oss's "sinks" are something else: a learned logit in each row's softmax, not keys.

    >>> import maskwork as mw
    >>> (mw.causal() & (mw.sliding_window(2) | mw.sinks(1))).bind(5).spans.row(4)
    [(0, 1), (3, 5)]
    """
    return _Sinks(as_int(n, "sinks(n)", minimum=0))


class _KeyRange(Mask):
    """Keys in `[start, end)`, one bound given per batch row: `prefix` and `padding`."""

    depends_on_query = False

    def __init__(self, name: str, bound: Ints, *, from_left: bool) -> None:
        self.name, self.bound, self.from_left = name, bound, from_left

    def _written(self) -> Written:
        return Written(self.name, (self.bound,)) if self.from_left else Written(self.name, named={"starts": self.bound})

    @property
    def batch(self) -> int:
        return 1 if self.bound.ndim == 0 else len(self.bound)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        bound = self.bound.reshape(-1, 1, 1)
        return single(0, bound, kv_len) if self.from_left else single(bound, kv_len, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        bound = int(self.bound if self.bound.ndim == 0 else self.bound[cell.batch])
        if self.name == "prefix":
            return f"key {cell.key} is {'in' if cell.key < bound else 'beyond'} the prefix of {bound} keys"
        real = cell.key < bound if self.from_left else cell.key >= bound
        says = f"there are {bound} of them" if self.from_left else f"they start at {bound}"
        return f"key {cell.key} is {'one' if real else 'none'} of the real keys, {says}"


def prefix(length: Any) -> Mask:
    """`k < length`: keys that every query sees, both ways (prefix-LM: Raffel et al. 2020, T5).

    Args:
        length: an int, or int `(B,)` with one prefix per batch row.

    Alone it lets every query see the prefix and nothing else. What others call a prefix-LM mask (FlexAttention's
    `prefix_lm`, PaliGemma's `token_type_ids` of 0) is `causal() | prefix(n)`: see `mw.recipes.prefix_lm`.

    >>> import maskwork as mw
    >>> (mw.causal() | mw.prefix(2)).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    """
    return _KeyRange("prefix", _bound(length, "prefix(length)"), from_left=True)


def padding(lengths: Any = None, *, starts: Any = None) -> Mask:
    """Real keys: `k < lengths[b]` (padding on the right) or `k >= starts[b]` (padding on the left).

    It says nothing about queries: a padded query still has a row, whose output nobody should score.

    Args:
        lengths: int `(B,)`, or an int; the number of real tokens.
        starts: int `(B,)`, or an int; the position of the first real token.

    | library | its way to say `padding(n)` |
    | --- | --- |
    | Hugging Face `attention_mask`, a 0/1 array | `n = attention_mask.sum(-1)` if padded on the right; else `starts` |
    | flash-attention `seqused_k`, `cache_seqlens` | `n` |
    | `nn.MultiheadAttention` `key_padding_mask` | True from `n` on: True means ignore |

    >>> import maskwork as mw
    >>> (mw.causal() & mw.padding([1, 3])).bind(3).shape
    (2, 1, 3, 3)
    """
    if (lengths is None) == (starts is None):
        given = "neither" if lengths is None else "both"
        raise MaskError(f"padding takes either lengths (right) or starts (left), got {given}; pass exactly one")
    if lengths is not None:
        return _KeyRange("padding", _bound(lengths, "padding(lengths)"), from_left=True)
    return _KeyRange("padding", _bound(starts, "padding(starts)"), from_left=False)


_NOT_MARKS = "pass one number for each batch row here, or marks of 0 and 1 for each key to mw.real"


def _bound(value: Any, name: str) -> Ints:
    bound = as_ints(value, name, ndims=(0, 1), hint=_NOT_MARKS)
    if not bound.size:
        raise MaskError(f"{name} takes one number for each batch row, got none; pass an int for all rows")
    return bound
