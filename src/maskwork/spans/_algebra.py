"""Union, intersection, complement, difference and xor of `Spans`, vectorised over rows, batch and heads.

With the starts and the ends of both operands sorted *apart*, the number of intervals that cover a key x is the
number of starts <= x less the number of ends <= x. So the k-th smallest end closes a stretch covered at least t
times exactly when it lies beyond the (k + t - 1)-th smallest start. That turns both operations into a merge of
sorted planes and a comparison of neighbours, without a branch per row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._spans import Planes, Spans, check_budget, join_rows

# 32K rows of a few int32 planes stay in the second-level cache while the merge network passes over them.
_CHUNK = 1 << 15

# Above as many runs a row, a network has more steps than a sort of the rows that need it.
_NETWORK = 32


def union(a: Spans, b: Spans) -> Spans:
    """The cells that `a` or `b` allows."""
    return _combine(a, b, _union_chunk)


def intersection(a: Spans, b: Spans) -> Spans:
    """The cells that both allow."""
    return _combine(a, b, _intersection_chunk)


def difference(a: Spans, b: Spans) -> Spans:
    """The cells that `a` allows and `b` does not."""
    return intersection(a, complement(b))


def xor(a: Spans, b: Spans) -> Spans:
    """The cells that exactly one of the two allows."""
    return difference(union(a, b), intersection(a, b))


def complement(a: Spans) -> Spans:
    """The cells that `a` does not allow: the gaps before, between and after its runs."""
    edge = a.planes_starts[:1]
    starts = np.concatenate([np.zeros_like(edge), a.planes_ends])
    ends = np.concatenate([a.planes_starts, np.full_like(edge, a.kv_len)])
    return _canonical(starts, ends, a.kv_len)


def _combine(a: Spans, b: Spans, chunk_op: Callable[[Spans, Spans], tuple[Planes, Planes]]) -> Spans:
    if a.kv_len != b.kv_len:
        raise AssertionError(f"operands cover {a.kv_len} and {b.kv_len} keys")
    shape = np.broadcast_shapes(a.shape, b.shape)
    check_budget(a.runs + b.runs, int(np.prod(shape)))
    rows = shape[2]
    if rows <= _CHUNK:
        return _canonical(*chunk_op(a, b), a.kv_len)
    parts = [
        _canonical(*chunk_op(_columns(a, i, i + _CHUNK), _columns(b, i, i + _CHUNK)), a.kv_len)
        for i in range(0, rows, _CHUNK)
    ]
    return join_rows(parts, [min(_CHUNK, rows - i) for i in range(0, rows, _CHUNK)])


def _columns(spans: Spans, i: int, j: int) -> Spans:
    if spans.shape[2] == 1:
        return spans
    return Spans(spans.planes_starts[..., i:j], spans.planes_ends[..., i:j], spans.kv_len)


def _union_chunk(a: Spans, b: Spans) -> tuple[Planes, Planes]:
    starts, ends = _merge_both(a, b)
    # A start is covered already, and an end is not the last, when neighbours overlap or touch.
    joined = starts[1:] <= ends[:-1]
    starts[1:][joined] = a.kv_len
    ends[:-1][joined] = a.kv_len
    return _pack(starts, a.kv_len), _pack(ends, a.kv_len)


def _intersection_chunk(a: Spans, b: Spans) -> tuple[Planes, Planes]:
    starts, ends = _merge_both(a, b)
    return starts[1:], ends[:-1]


def _merge_both(a: Spans, b: Spans) -> tuple[Planes, Planes]:
    starts = np.stack(np.broadcast_arrays(*_merge(list(a.planes_starts), list(b.planes_starts))))
    ends = np.stack(np.broadcast_arrays(*_merge(list(a.planes_ends), list(b.planes_ends))))
    return starts, ends


def _merge(a: Sequence[Planes], b: Sequence[Planes]) -> list[Planes]:
    """Batcher's odd-even merge (Knuth, TAOCP 5.3.4) of two sorted sequences of planes, elementwise."""
    if not a or not b:
        return [*a, *b]
    if len(a) == len(b) == 1:
        return [np.minimum(a[0], b[0]), np.maximum(a[0], b[0])]
    first = _merge(a[0::2], b[0::2])
    second = _merge(a[1::2], b[1::2])
    out = [first[0]]
    for i in range(max(len(first) - 1, len(second))):
        pair = second[i : i + 1] + first[i + 1 : i + 2]
        out += [np.minimum(*pair), np.maximum(*pair)] if len(pair) == 2 else pair
    return out


def _canonical(starts: Planes, ends: Planes, kv_len: int) -> Spans:
    """Drop empty runs, bring the others to the front, and drop the slots that no row uses."""
    empty = starts >= ends
    if empty.any() or not empty.size:
        starts = np.where(empty, np.int32(kv_len), starts)
        ends = np.where(empty, np.int32(kv_len), ends)
        starts, ends = _pack(starts, kv_len), _pack(ends, kv_len)
    return Spans(starts, ends, kv_len).trim()


def _pack(planes: Planes, kv_len: int) -> Planes:
    """Sort each row whose planes are out of order; unused slots hold `kv_len`, the largest value."""
    if len(planes) == 1:
        return planes
    bad = np.any(planes[:-1] > planes[1:], axis=0)
    if not bad.any():
        return planes
    if len(planes) <= _NETWORK and bad.size > _NETWORK:
        return np.stack(_sort(list(planes)))
    planes = planes.copy()
    planes[:, bad] = np.sort(planes[:, bad], axis=0)
    return planes


def _sort(planes: list[Planes]) -> list[Planes]:
    """Sort planes elementwise, by merging halves: minima and maxima of whole planes beat a sort of each short row."""
    if len(planes) == 1:
        return planes
    half = len(planes) // 2
    return _merge(_sort(planes[:half]), _sort(planes[half:]))
