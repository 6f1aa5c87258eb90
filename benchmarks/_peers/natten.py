"""NATTEN: neighborhoods with dilation, stride and causal axes, by its documentation, written here as formulas.

An axis is cut into as many combs as its dilation. In a comb, `stride` neighbours share the window of their leader,
which is the middle one of them, or the last one along a causal axis; a causal window ends at the query.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .table import Array, Case, Peer

PEER = Peer("NATTEN", "the formulas of its documentation")


def axis(n: int, kernel: int, dilation: int = 1, stride: int = 1, causal: bool = False) -> Array:
    """Return the cells of one axis, `(n, n)`."""
    cells = np.zeros((n, n), dtype=bool)
    for query in range(n):
        comb = np.arange(query % dilation, n, dilation)
        place = query // dilation
        group = place // stride * stride
        if causal:
            leader = min(group + stride - 1, len(comb) - 1)
            first, last = max(leader - kernel + 1, 0), place
        else:
            leader = min(group + stride // 2, len(comb) - 1)
            first = min(max(leader - kernel // 2, 0), len(comb) - kernel)
            last = first + kernel - 1
        cells[query, comb[first : last + 1]] = True
    return cells


def cells_of(axes: list[Array]) -> Array:
    """Return the cells of a grid whose positions count row by row: a key lies in the window along every axis."""
    cells = axes[0]
    for other in axes[1:]:
        cells = np.kron(cells, other)
    return cells


@PEER.row("`na1d`, `na2d`, `na3d(kernel_size=…)`", "neighborhood(shape, kernel).bind(n)")
def windows() -> Iterator[Case]:
    shapes = [((n,), (k,)) for n in (5, 8, 9) for k in (2, 3, 4, 5)]
    shapes += [((4, 6), k) for k in product((2, 3, 4), (2, 3, 5, 6))] + [
        ((3, 4, 5), k) for k in product((2, 3), repeat=3)
    ]
    for shape, kernel in shapes:
        theirs = cells_of([axis(n, k) for n, k in zip(shape, kernel, strict=True)])
        yield {"theirs": theirs, "shape": shape, "kernel": kernel, "n": len(theirs)}


@PEER.row("`dilation=…`", "neighborhood(shape, kernel, dilation=dilation).bind(n)")
def dilated() -> Iterator[Case]:
    one = [((n,), (k,), (d,)) for n in (9, 12, 13) for k in (2, 3, 4) for d in (1, 2, 3)]
    two = [((6, 9), k, d) for k in ((2, 3), (3, 2)) for d in product((1, 2, 3), repeat=2)]
    for shape, kernel, dilation in one + two:
        # NATTEN refuses a window that does not fit its axis.
        if any(k * d > n for n, k, d in zip(shape, kernel, dilation, strict=True)):
            continue
        theirs = cells_of([axis(*values) for values in zip(shape, kernel, dilation, strict=True)])
        yield {"theirs": theirs, "shape": shape, "kernel": kernel, "dilation": dilation, "n": len(theirs)}


@PEER.row("`stride=…`", "neighborhood(shape, kernel, stride=stride).bind(n)")
def strides() -> Iterator[Case]:
    one = [((n,), (k,), (s,)) for n in (7, 8, 12) for k in (2, 3, 5) for s in range(1, k + 1)]
    two = [((5, 8), k, s) for k in ((3, 4), (4, 3)) for s in product((1, 2, 3), repeat=2)]
    for shape, kernel, stride in one + two:
        theirs = cells_of([axis(n, k, 1, s) for n, k, s in zip(shape, kernel, stride, strict=True)])
        yield {"theirs": theirs, "shape": shape, "kernel": kernel, "stride": stride, "n": len(theirs)}


@PEER.row("`is_causal=…`", "neighborhood(shape, kernel, is_causal=is_causal).bind(n)")
def causal() -> Iterator[Case]:
    one = [((n,), (k,), (True,)) for n in (5, 8) for k in (2, 3, 5)]
    two = [((4, 6), k, c) for k in ((2, 3), (3, 4)) for c in product((False, True), repeat=2)]
    three = [((3, 4, 3), (2, 3, 2), c) for c in product((False, True), repeat=3)]
    for shape, kernel, is_causal in one + two + three:
        axes = [axis(n, k, 1, 1, c) for n, k, c in zip(shape, kernel, is_causal, strict=True)]
        theirs = cells_of(axes)
        yield {"theirs": theirs, "shape": shape, "kernel": kernel, "is_causal": is_causal, "n": len(theirs)}


@PEER.row(
    "`dilation`, `stride` and `is_causal` together",
    "neighborhood(shape, kernel, dilation=dilation, stride=stride, is_causal=is_causal).bind(n)",
    shown=False,
)
def together() -> Iterator[Case]:
    one = [((n,), (k,), (d,), (s,), (c,)) for n in (9, 12) for k in (3, 4) for d in (1, 2) for s in (1, 2, 3)
           for c in (False, True)]  # fmt: skip
    two = [((6, 8), (3, 2), d, s, c) for d in ((1, 2), (2, 1)) for s in ((1, 2), (3, 1)) for c in
           product((False, True), repeat=2)]  # fmt: skip
    for shape, kernel, dilation, stride, is_causal in one + two:
        axes = [axis(*values) for values in zip(shape, kernel, dilation, stride, is_causal, strict=True)]
        theirs = cells_of(axes)
        yield {"theirs": theirs, "shape": shape, "kernel": kernel, "dilation": dilation, "stride": stride,
               "is_causal": is_causal, "n": len(theirs)}  # fmt: skip
