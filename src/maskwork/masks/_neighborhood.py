"""`neighborhood`: local windows on a grid of one, two or three dimensions, clamped at its edges."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..errors import MaskError
from ..spans import Spans, check_budget, gather_runs
from ._arrays import Ints, as_int
from ._document import check_cover
from ._explanation import Cell, Row
from ._mask import Extent, Mask, Queries


class _Neighborhood(Mask):
    """See `neighborhood`."""

    def __init__(self, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> None:
        self.sizes, self.kernel = sizes, kernel

    def _identity(self) -> tuple[Any, ...]:
        return ("neighborhood", self.sizes, self.kernel)

    def _text(self) -> str:
        return f"neighborhood({list(self.sizes)}, {list(self.kernel)})"

    def _check(self, extent: Extent) -> None:
        check_cover(self, "sizes multiply to", np.array([math.prod(self.sizes)]), extent)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # Trailing axes that the kernel spans whole belong to one run.
        axes = len(self.sizes)
        while axes > 1 and self.kernel[axes - 1] == self.sizes[axes - 1]:
            axes -= 1
        width = math.prod(self.sizes[axes:])
        sizes, kernel = self.sizes[:axes], self.kernel[:axes]
        check_budget(math.prod(kernel[:-1]), queries.size)
        rest = queries // width
        corner: Ints = np.zeros_like(queries)
        stride, strides = width, [0] * axes
        for axis in reversed(range(axes)):
            at, rest, strides[axis] = rest % sizes[axis], rest // sizes[axis], stride
            first = np.clip(at - kernel[axis] // 2, 0, sizes[axis] - kernel[axis])
            corner = corner + first * stride
            stride *= sizes[axis]
        lines = itertools.product(*(range(0, n * step, step) for n, step in zip(kernel[:-1], strides, strict=False)))
        offsets = np.array([sum(line) for line in lines], dtype=np.int64).reshape(-1, 1, 1, 1)
        starts = corner + offsets
        return gather_runs(starts, starts + kernel[-1] * width, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        query, key = (tuple(int(i) for i in np.unravel_index(at, self.sizes)) for at in (cell.query, cell.key))
        return f"query {cell.query} is at {query}, key {cell.key} at {key}, window is {self.kernel}"


def neighborhood(shape: Any, kernel: Any) -> Mask:
    """Along every axis, `k` lies in the window of `kernel` cells round `q`, moved inwards at the edges.

    Neighborhood attention (Hassani et al. 2023, NATTEN). Positions count through the grid row by row (the last axis
    fastest). In an axis of `n` cells, cell `i` sees `[s, s + w)` with `s = clip(i - w // 2, 0, n - w)`: always
    exactly `w`, so a cell at an edge sees further inwards instead of less.

    Args:
        shape: cells along each of one, two or three axes; an int for one.
        kernel: the window along each axis, at least 1 and at most the axis; an int is the same for all.

    Raises:
        MaskError: more than three axes, or a window larger than its axis.
        GridError: on binding, the grid has more positions than `shape` has cells.

    | library | its way to say `neighborhood((h, w), (kh, kw))` |
    | --- | --- |
    | NATTEN `na2d(kernel_size=(kh, kw))` | the same; an even window has its extra cell on the left |
    | `attn_gym` `generate_natten(w, h, kw, kh)` | odd windows, written `w, h` |
    | Swin, Longformer's one-sided windows | cut at the edge instead of moved: not this mask |

    >>> import maskwork as mw
    >>> mw.neighborhood(4, 3).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    >>> mw.neighborhood((3, 4), (3, 1)).bind(12).spans.row(5)
    [(1, 2), (5, 6), (9, 10)]
    """
    sizes = _axes(shape, "neighborhood(shape)")
    kernels = _axes(kernel, "neighborhood(kernel)")
    if len(kernels) == 1:
        kernels *= len(sizes)
    if len(kernels) != len(sizes):
        raise MaskError(
            f"neighborhood takes a window for each of its {len(sizes)} axes, got {list(kernels)}; pass one int for all"
        )
    for size, window in zip(sizes, kernels, strict=True):
        if window > size:
            raise MaskError(
                f"a neighborhood's window fits its axis, got a window of {window} on {size} cells; "
                "pass a smaller kernel, or the axis itself for all of it"
            )
    return _Neighborhood(sizes, kernels)


def _axes(value: Any, name: str) -> tuple[int, ...]:
    values: list[Any] = [value] if hasattr(value, "__index__") else list(value)
    if not 1 <= len(values) <= 3:
        raise MaskError(f"{name} has one, two or three axes, got {len(values)}; fold the others into the batch")
    return tuple(as_int(item, f"each of {name}", minimum=1) for item in values)
