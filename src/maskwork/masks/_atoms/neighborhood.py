"""`neighborhood`: local windows on a grid of cells, clamped at its edges, row by row or tile by tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans, by_chunks, check_budget, gather_runs
from .._arrays import Ints, as_bools, as_int
from .._before_zero import from_zero
from .._extent import Extent, check_cover
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

# What a key that is none adds to a position: beyond every key, however often it is added.
_OUTSIDE = 1 << 40

_LARGER = "give a larger shape, or bind it to its own size"


@dataclass(frozen=True)
class Axis:
    """The window along one axis.

    Attributes:
        size: cells along the axis.
        window: cells of the window.
        stride: neighbouring cells that share one window.
        is_causal: whether a cell sees no cell after its own.
        dilation: distance from one cell of the window to the next.
    """

    size: int
    window: int
    stride: int = 1
    is_causal: bool = False
    dilation: int = 1

    def check(self) -> None:
        """Raise where the window does not fit."""
        if self.window * self.dilation > self.size:
            dilated = f", {self.dilation} apart," if self.dilation > 1 else ""
            raise MaskError(
                f"a neighborhood's window fits its axis, got a window of {self.window}{dilated} on {self.size} cells; "
                "pass a smaller kernel, or the axis itself for all of it"
            )
        if self.stride > self.window:
            raise MaskError(
                f"a neighborhood's stride is at most its window, got a stride of {self.stride} with a window of "
                f"{self.window}; cells between two windows would be seen by no query: pass a smaller stride"
            )

    def window_of(self, cell: Ints) -> tuple[Ints, Ints]:
        """Return where the windows of cells start and end, counted among the cells of the same remainder."""
        remainder, index = cell % self.dilation, cell // self.dilation
        number = (self.size - remainder + self.dilation - 1) // self.dilation
        behind = self.stride - 1 if self.is_causal else self.stride // 2
        leader = np.minimum(index // self.stride * self.stride + behind, number - 1)
        if self.is_causal:
            return np.maximum(leader - self.window + 1, 0), index + 1
        start = np.clip(leader - self.window // 2, 0, number - self.window)
        return start, start + self.window


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

    def __init__(self, axes: tuple[Axis, ...], tile: tuple[int, ...]) -> None:
        self.axes, self.tile = axes, tile
        self.sizes, self.kernel = tuple(axis.size for axis in axes), tuple(axis.window for axis in axes)

    def _spec(self) -> Spec:
        options: dict[str, Any] = {}
        if self.tile != self.sizes:
            options["tile"] = np.array(self.tile)
        for name, default in (("stride", 1), ("is_causal", False), ("dilation", 1)):
            values = [getattr(axis, name) for axis in self.axes]
            if any(value != default for value in values):
                options[name] = np.array(values)
        return Spec("neighborhood", (np.array(self.sizes), np.array(self.kernel)), options)

    def _check(self, extent: Extent) -> None:
        check_cover(self, "sizes multiply to", np.array([math.prod(self.sizes)]), extent, fix=_LARGER)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # A line of the window, along the last axis, is one run in each tile that it crosses; of a dilated axis, each
        # cell is a run.
        last = self.axes[-1]
        tiled = self.tile[-1] < last.size
        crossed = -(-(last.window - 1) // self.tile[-1]) + 1 if tiled else 1
        crossed = last.window if last.dilation > 1 else crossed
        check_budget(math.prod(self.kernel[:-1]) * crossed, queries.size)
        return by_chunks(queries, kv_len, lambda part: self._windows(part, crossed, kv_len))

    def _windows(self, queries: Queries, crossed: int, kv_len: int) -> Spans:
        cells = self._cells(queries)
        # The window's lines along the last axis start at the sums of the parts of all other axes.
        last = len(self.axes) - 1
        lines: list[Ints] = [np.zeros_like(queries)]
        for axis in range(last):
            parts = self._parts(axis, cells[axis])
            lines = [line + part for line in lines for part in parts]
        if self.axes[last].dilation > 1:
            keys = [line + part for line in lines for part in self._parts(last, cells[last])]
            return gather_runs(np.stack(keys), np.stack(keys) + 1, kv_len)
        left, right = self.axes[last].window_of(cells[last])
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

    def _parts(self, axis: int, cell: Ints) -> list[Ints]:
        """Return what each cell of the window along an axis adds to the position, `_OUTSIDE` where there is none."""
        rule = self.axes[axis]
        first, end = rule.window_of(cell)
        parts: list[Ints] = []
        for offset in range(rule.window):
            key = (first + offset) * rule.dilation + cell % rule.dilation
            parts.append(np.where(first + offset < end, self._part(axis, np.minimum(key, rule.size - 1)), _OUTSIDE))
        return parts

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
        options = "".join(
            f", {name} {tuple(value.tolist())}" for name, value in self._spec().keywords.items() if name != "tile"
        )
        return f"query {cell.query} is at {query}, key {cell.key} at {key}, window is {self.kernel}{options}"


@atom(
    Form(
        "neighborhood(shape, kernel)",
        "",
        "on a grid of 1 to 4 axes, `k` lies in the window round `q`, moved inwards at the edges",
    )
)
def neighborhood(
    shape: Any, kernel: Any, *, tile: Any = None, stride: Any = 1, is_causal: Any = False, dilation: Any = 1
) -> Mask:
    """Allow `k` in the window of `kernel` cells round `q` along every axis, moved inwards at the edges.

    Neighborhood attention (Hassani et al. 2023, NATTEN), dilated (Hassani and Shi 2022) and strided (Hassani et al.
    2025). Positions count through the grid row by row (the last axis fastest). In an axis of `n` cells, cell `i` sees
    `[s, s + w)` with `s = clip(i - w // 2, 0, n - w)`: always exactly `w`, so a cell at an edge sees further inwards
    instead of less.

    Args:
        shape: cells along each of one, two or three axes; an int for one. A further axis, which the kernel takes whole,
            may hold the tokens of a cell, as `mw.recipes.sliding_tile` does.
        kernel: the window along each axis, at least 1 and at most the axis; an int is the same for all.
        tile: where positions count tile by tile instead, cells of one tile row by row: its size along each axis.
        stride: groups of this many neighbouring cells share the window of one of them, the leader: cell
            `i // stride * stride + stride // 2`, or the axis' last. At least 1 and at most the window.
        is_causal: whether an axis looks back alone: a cell sees the `kernel` cells up to its own, fewer at the start.
            With a stride the window begins where that of the group's last cell does, and still ends at the cell.
        dilation: the window holds every `dilation`-th cell: cells `i % dilation` apart are axes of their own, each
            with this window. `kernel * dilation` is at most the axis.

    Raises:
        MaskError: more than four axes, a window larger than its axis, a tile that does not divide its axis, or a stride
            larger than its window.
        GridError: on binding, the grid has more positions than `shape` has cells.

    | library | its way to say `neighborhood((h, w), (kh, kw))` |
    | --- | --- |
    | NATTEN `na2d(kernel_size=(kh, kw), stride, dilation, is_causal)` | the same; even windows have more on the left |
    | `attn_gym` `generate_natten(n, n, kh, kw)` | odd windows on a square; its "width" counts along the rows' axis |
    | `attn_gym` `generate_tiled_natten(w, h, kw, kh, tw, th)` | odd windows, `tile=(th, tw)` |
    | Swin, Longformer's one-sided windows | cut at the edge instead of moved: not this mask |

    >>> import maskwork as mw
    >>> mw.neighborhood(4, 3).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    >>> mw.neighborhood((3, 4), (3, 1)).bind(12).spans.row(5)
    [(1, 2), (5, 6), (9, 10)]
    >>> mw.neighborhood(4, 2, is_causal=True).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    sizes = _axes(shape, "neighborhood(shape)")
    kernels = _one_each(_axes(kernel, "neighborhood(kernel)"), len(sizes), "a window")
    strides = _one_each(_axes(stride, "neighborhood(stride)"), len(sizes), "a stride")
    dilations = _one_each(_axes(dilation, "neighborhood(dilation)"), len(sizes), "a dilation")
    flags = as_bools(is_causal, "neighborhood(is_causal)", ndims=(0, 1))
    causal = _one_each(tuple(np.atleast_1d(flags).tolist()), len(sizes), "a flag")
    axes = tuple(Axis(*each) for each in zip(sizes, kernels, strides, causal, dilations, strict=True))
    for axis in axes:
        axis.check()
    tiles = sizes if tile is None else _axes(tile, "neighborhood(tile)")
    if len(tiles) == 1:
        tiles *= len(sizes)
    if len(tiles) != len(sizes) or any(size % side for size, side in zip(sizes, tiles, strict=False)):
        raise MaskError(
            f"a neighborhood's tiles divide its axes, got tiles of {list(tiles)} on {list(sizes)} cells; pad it"
        )
    return _Neighborhood(axes, tiles)


def _one_each(values: tuple[Any, ...], axes: int, what: str) -> tuple[Any, ...]:
    """Return one value for each axis, from as many or from one for all."""
    values = values * axes if len(values) == 1 else values
    if len(values) != axes:
        raise MaskError(f"neighborhood takes {what} for each of its {axes} axes, got {list(values)}; pass one for all")
    return values


def _axes(value: Any, name: str) -> tuple[int, ...]:
    """Return one int for each axis, from an int or from one to four of them."""
    values: list[Any] = list(value) if hasattr(value, "__iter__") and getattr(value, "ndim", 1) else [value]
    if not 1 <= len(values) <= 4:
        raise MaskError(f"{name} has one to four axes, got {len(values)}; fold the others into the batch")
    return tuple(as_int(item, f"each of {name}", minimum=1) for item in values)
