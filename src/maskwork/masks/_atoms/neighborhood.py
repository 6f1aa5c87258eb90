"""`neighborhood`: local windows on a grid of cells, clamped at its edges, row by row or tile by tile."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans, by_chunks, check_budget, gather_runs
from .._arrays import Ints, as_int
from .._before_zero import from_zero
from .._extent import Extent, check_cover
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

_LARGER = "give a larger shape, or bind it to its own size"


class _Neighborhood(Mask):
    """The mask of `neighborhood`, whose positions count cells row by row, or tile by tile."""

    # A position is a sum with one part for each axis. On a grid of 4 x 4 cells with tiles of 2 x 2, the cell in row 1
    # and column 2 is position 6: its tile begins at 4, and the cell is 2 inside the tile.
    #
    #      0  1 |  4  5
    #      2  3 |  6  7
    #     ------+------
    #      8  9 | 12 13
    #     10 11 | 14 15

    def __init__(self, sizes: tuple[int, ...], kernel: tuple[int, ...], tile: tuple[int, ...]) -> None:
        self.sizes, self.kernel, self.tile = sizes, kernel, tile

    def _spec(self) -> Spec:
        tile = {} if self.tile == self.sizes else {"tile": np.array(self.tile)}
        return Spec("neighborhood", (np.array(self.sizes), np.array(self.kernel)), tile)

    def _check(self, extent: Extent) -> None:
        check_cover(self, "sizes multiply to", np.array([math.prod(self.sizes)]), extent, fix=_LARGER)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # A line of the window, along the last axis, is one run in each tile that it crosses.
        tiled = self.tile[-1] < self.sizes[-1]
        crossed = -(-(self.kernel[-1] - 1) // self.tile[-1]) + 1 if tiled else 1
        check_budget(math.prod(self.kernel[:-1]) * crossed, queries.size)
        return by_chunks(queries, kv_len, lambda part: self._windows(part, crossed, kv_len))

    def _windows(self, queries: Queries, crossed: int, kv_len: int) -> Spans:
        corner = [
            np.clip(cell - window // 2, 0, size - window)
            for cell, window, size in zip(self._cells(queries), self.kernel, self.sizes, strict=True)
        ]
        # The window's lines along the last axis start at the sums of the parts of all other axes.
        last = len(self.sizes) - 1
        lines: list[Ints] = [np.zeros_like(queries)]
        for axis in range(last):
            parts = [self._part(axis, corner[axis] + offset) for offset in range(self.kernel[axis])]
            lines = [line + part for line in lines for part in parts]
        left, right = corner[last], corner[last] + self.kernel[last]
        starts: list[Ints] = []
        ends: list[Ints] = []
        for tile in range(crossed):
            edge = (left // self.tile[last] + tile) * self.tile[last]
            first = self._part(last, np.clip(edge, left, right - 1))
            # A line that ends in an earlier tile has no run in this one.
            length = np.maximum(np.minimum(edge + self.tile[last], right) - np.maximum(edge, left), 0)
            starts += [line + first for line in lines]
            ends += [line + (first + length) for line in lines]
        return gather_runs(np.stack(starts), np.stack(ends), kv_len)

    def _part(self, axis: int, cell: Ints) -> Ints:
        """Return what a coordinate adds to the position: whole tiles, and steps inside a tile."""
        inner_axes = zip(self.sizes[axis + 1 :], self.tile[axis + 1 :], strict=True)
        tile_step = math.prod(self.tile) * math.prod(size // side for size, side in inner_axes)
        tile, inside = np.divmod(cell, self.tile[axis])
        return tile * tile_step + inside * math.prod(self.tile[axis + 1 :])

    def _cells(self, positions: Ints) -> list[Ints]:
        """Return the coordinates of positions, one array for each axis."""
        # The inverse of `_part`: digits of the tile's number and of the cell inside it, the last axis first.
        tiles = tuple(size // side for size, side in zip(self.sizes, self.tile, strict=True))
        index, inside = np.divmod(positions, math.prod(self.tile))
        cells: list[Ints] = []
        for count, side in zip(reversed(tiles), reversed(self.tile), strict=True):
            cells.append(index % count * side + inside % side)
            index, inside = index // count, inside // side
        return cells[::-1]

    def _reason(self, cell: Cell, row: Row) -> str:
        positions = np.array([cell.query, cell.key], dtype=np.int64)
        query, key = zip(*(axis.tolist() for axis in self._cells(positions)), strict=True)
        return f"query {cell.query} is at {query}, key {cell.key} at {key}, window is {self.kernel}"


@atom(
    Form(
        "neighborhood(shape, kernel)",
        "",
        "on a grid of 1 to 4 axes, `k` lies in the window round `q`, moved inwards at the edges",
    )
)
def neighborhood(shape: Any, kernel: Any, *, tile: Any = None) -> Mask:
    """Allow `k` in the window of `kernel` cells round `q` along every axis, moved inwards at the edges.

    Neighborhood attention (Hassani et al. 2023, NATTEN). Positions count through the grid row by row (the last axis
    fastest). In an axis of `n` cells, cell `i` sees `[s, s + w)` with `s = clip(i - w // 2, 0, n - w)`: always
    exactly `w`, so a cell at an edge sees further inwards instead of less.

    Args:
        shape: cells along each of one, two or three axes; an int for one. A further axis, which the kernel takes whole,
            may hold the tokens of a cell, as `mw.recipes.sliding_tile` does.
        kernel: the window along each axis, at least 1 and at most the axis; an int is the same for all.
        tile: where positions count tile by tile instead, cells of one tile row by row: its size along each axis.

    Raises:
        MaskError: more than four axes, a window larger than its axis, or a tile that does not divide its axis.
        GridError: on binding, the grid has more positions than `shape` has cells.

    | library | its way to say `neighborhood((h, w), (kh, kw))` |
    | --- | --- |
    | NATTEN `na2d(kernel_size=(kh, kw))` | the same; an even window has its extra cell on the left |
    | `attn_gym` `generate_natten(w, h, kw, kh)` | odd windows on a square; elsewhere it takes `w` for the rows |
    | `attn_gym` `generate_tiled_natten(w, h, kw, kh, tw, th)` | odd windows, `tile=(th, tw)` |
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
    tiles = sizes if tile is None else _axes(tile, "neighborhood(tile)")
    if len(tiles) == 1:
        tiles *= len(sizes)
    if len(tiles) != len(sizes) or any(size % side for size, side in zip(sizes, tiles, strict=False)):
        raise MaskError(
            f"a neighborhood's tiles divide its axes, got tiles of {list(tiles)} on {list(sizes)} cells; pad it"
        )
    return _Neighborhood(sizes, kernels, tiles)


def _axes(value: Any, name: str) -> tuple[int, ...]:
    """Return one int for each axis, from an int or from one to four of them."""
    values: list[Any] = list(value) if hasattr(value, "__iter__") and getattr(value, "ndim", 1) else [value]
    if not 1 <= len(values) <= 4:
        raise MaskError(f"{name} has one to four axes, got {len(values)}; fold the others into the batch")
    return tuple(as_int(item, f"each of {name}", minimum=1) for item in values)
