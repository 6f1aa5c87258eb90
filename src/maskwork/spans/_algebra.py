"""Union, intersection, complement, difference and xor of `Spans`, vectorised over rows, batch and heads.

The starts of both operands are sorted, and their ends are sorted separately. The number of intervals that cover a key
x is then the number of starts <= x minus the number of ends <= x. So the k-th smallest end closes a stretch covered at
least t times exactly when that end lies beyond the (k + t - 1)-th smallest start. Union (t = 1) and intersection
(t = 2) become a merge of sorted planes and a comparison of neighbours, without a branch per row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._lookup import LEAST_RUNS, intersect_row
from ._spans import Planes, Spans, check_budget, join_rows

# One row of a = [1, 4) [6, 8) and b = [3, 6), both sorted:
#
#    starts 1 3 6     union: start 3 <= end 4 and start 6 <= end 6 (they touch), so both pairs are joined:   [1, 8)
#    ends   4 6 8     intersection: each start with the end before it, [3, 4) and [6, 6), which is empty:    [3, 4)

# 32K rows of a few int32 planes stay in the second-level cache while the merge network passes over them.
_CHUNK = 1 << 15

# Beyond this number of runs per row, a merge network has more steps than a sort of the unsorted rows.
_NETWORK = 32


def union(a: Spans, b: Spans) -> Spans:
    """Return the cells that `a` or `b` allows."""
    return _combine(a, b, _union_chunk)


def intersection(a: Spans, b: Spans) -> Spans:
    """Return the cells that both allow."""
    few, many = (a, b) if a.runs < b.runs else (b, a)
    if many.shape[2] == 1 < few.shape[2] and many.runs >= LEAST_RUNS:
        return _canonical(*intersect_row(few, many), a.kv_len)
    return _combine(a, b, _intersection_chunk)


def difference(a: Spans, b: Spans) -> Spans:
    """Return the cells that `a` allows and `b` does not."""
    return intersection(a, complement(b))


def xor(a: Spans, b: Spans) -> Spans:
    """Return the cells that exactly one of the two allows."""
    return difference(union(a, b), intersection(a, b))


def complement(a: Spans) -> Spans:
    """Return the cells that `a` does not allow: the gaps before, between and after the runs of `a`."""
    # The gap before a run reaches from the end of the run before to its start: the planes swap roles, shifted by one.
    one = a.one_row()
    if one is not a:
        return complement(one).expand(a.shape)
    edge = a.planes_starts[:1]
    starts = np.concatenate([np.zeros_like(edge), a.planes_ends])
    ends = np.concatenate([a.planes_starts, np.full_like(edge, a.kv_len)])
    return _canonical(starts, ends, a.kv_len)


def _combine(a: Spans, b: Spans, chunk_op: Callable[[Spans, Spans], tuple[Planes, Planes]]) -> Spans:
    if a.kv_len != b.kv_len:
        raise AssertionError(f"operands cover {a.kv_len} and {b.kv_len} keys")
    shape = np.broadcast_shapes(a.shape, b.shape)
    one_a, one_b = a.one_row(), b.one_row()
    if one_a is not a and one_b is not b:
        joined = _combine(one_a, one_b, chunk_op)
        return joined.expand((*joined.shape[:2], shape[2]))
    check_budget(a.runs + b.runs, int(np.prod(shape)))
    rows = shape[2]
    if rows <= _CHUNK:
        return _canonical(*chunk_op(a, b), a.kv_len)
    # Chunks of rows bound the memory of the intermediate planes, and keep them in the cache.
    parts = [
        _canonical(*chunk_op(_columns(a, i, i + _CHUNK), _columns(b, i, i + _CHUNK)), a.kv_len)
        for i in range(0, rows, _CHUNK)
    ]
    return join_rows(parts, [min(_CHUNK, rows - i) for i in range(0, rows, _CHUNK)])


def _columns(spans: Spans, i: int, j: int) -> Spans:
    if spans.shape[2] == 1:
        return spans  # one row stands for all
    return Spans(spans.planes_starts[..., i:j], spans.planes_ends[..., i:j], spans.kv_len)


def _union_chunk(a: Spans, b: Spans) -> tuple[Planes, Planes]:
    starts, ends = _merge_both(a, b)
    # Where the next start does not lie beyond an end, the stretch goes on: neither edge belongs to the union.
    joined = starts[1:] <= ends[:-1]
    starts[1:][joined] = a.kv_len
    ends[:-1][joined] = a.kv_len
    return _pack(starts, a.kv_len), _pack(ends, a.kv_len)


def _intersection_chunk(a: Spans, b: Spans) -> tuple[Planes, Planes]:
    starts, ends = _merge_both(a, b)
    # Covered twice: from each start but the first to the end before it. Pairs that are empty are dropped later.
    return starts[1:], ends[:-1]


def _merge_both(a: Spans, b: Spans) -> tuple[Planes, Planes]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    if a.runs + b.runs > max(_NETWORK, int(np.prod(shape))):
        # Few rows of many runs: a step of the network would be a call for each run.
        starts, ends = (
            np.sort(np.concatenate([np.broadcast_to(side, (len(side), *shape)) for side in sides]), axis=0)
            for sides in ((a.planes_starts, b.planes_starts), (a.planes_ends, b.planes_ends))
        )
        return starts, ends
    starts = np.stack(np.broadcast_arrays(*_merge(list(a.planes_starts), list(b.planes_starts))))
    ends = np.stack(np.broadcast_arrays(*_merge(list(a.planes_ends), list(b.planes_ends))))
    return starts, ends


def _merge(a: Sequence[Planes], b: Sequence[Planes]) -> list[Planes]:
    """Merge two sorted sequences of planes elementwise, by Batcher's odd-even merge (Knuth, TAOCP 5.3.4)."""
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
    unsorted = np.any(planes[:-1] > planes[1:], axis=0)
    if not unsorted.any():
        return planes
    if len(planes) <= _NETWORK and unsorted.size > _NETWORK:
        return np.stack(_sort(list(planes)))
    planes = planes.copy()
    planes[:, unsorted] = np.sort(planes[:, unsorted], axis=0)
    return planes


def _sort(planes: list[Planes]) -> list[Planes]:
    """Sort planes elementwise by merging halves: minima and maxima of full planes are faster than a sort per row."""
    if len(planes) == 1:
        return planes
    half = len(planes) // 2
    return _merge(_sort(planes[:half]), _sort(planes[half:]))
