"""`BoundMask`: a mask on a grid with its exact geometry. Everything countable or executable is asked of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import spans as sp
from ..errors import GridError, MaskError
from ..spans import Spans
from ._arrays import Ints, as_int, as_ints
from ._evaluate import evaluate
from ._grid import Grid
from ._mask import Mask
from ._questions.explain import Cell, Explanation
from ._questions.verdict import Verdict

if TYPE_CHECKING:
    from ._questions.cost import Cost
    from ._questions.diff import Diff

T = TypeVar("T")


class BoundMask:
    """What `mask.bind(...)` returns. Query and key positions in its methods are absolute.

    >>> import maskwork as mw
    >>> bound = mw.causal().bind(1_000_000)
    >>> bound.allowed, bound.shape
    (500000500000, (1, 1, 1000000, 1000000))
    """

    def __init__(self, mask: Mask, grid: Grid, spans: Spans | None = None) -> None:
        self.mask = mask
        self.grid = grid
        self._given = spans
        self._memo: dict[Hashable, Any] = {}
        self._shape: tuple[int, int, int, int] | None = None

    @cached_property
    def spans(self) -> Spans:
        """The exact geometry, with every query of the grid a row of its own; computed once."""
        spans = evaluate(self.mask, self.grid) if self._given is None else self._given
        batch, heads, _ = spans.shape
        spans = spans.expand((batch, heads, self.grid.q_len))
        return spans if self.grid.q_len else spans.trim()  # no rows use no slots

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(B, H, Q, K)`; B and H are 1 where nothing differs along them."""
        # kept as numbers: compiled code reads and guards them, and would guard the arrays of the spans
        if self._shape is None:
            self._shape = (*self.spans.shape, self.grid.kv_len)
        return self._shape

    @property
    def allowed(self) -> int:
        """Exact number of allowed (query, key) pairs over `shape`."""
        # An unused slot counts kv_len on either side.
        return int(self.spans.planes_ends.sum(dtype=np.int64) - self.spans.planes_starts.sum(dtype=np.int64))

    @property
    def density(self) -> float:
        """`allowed` as a part of all pairs, 0.0 on an empty grid."""
        cells = math.prod(self.shape)
        return self.allowed / cells if cells else 0.0

    def dense(self) -> npt.NDArray[np.bool_]:
        """bool `(B, H, Q, K)`, True where attention is allowed. It holds Q x K cells: for small grids."""
        return self.spans.dense()

    def count(self, q0: int, q1: int, k0: int, k1: int) -> npt.NDArray[np.int64]:
        """Exact allowed pairs with `q0 <= q < q1` and `k0 <= k < k1`: int64 `(B, H)`."""
        return self._tiles([q0, q1], [k0, k1], "count's q0, q1", "count's k0, k1")[..., 0, 0]

    def tiles(self, q_edges: Any, k_edges: Any) -> npt.NDArray[np.int64]:
        """Exact counts on a grid of rectangles: int64 `(B, H, len(q_edges) - 1, len(k_edges) - 1)`.

        Args:
            q_edges: non-decreasing absolute query positions within the grid.
            k_edges: non-decreasing key positions within `[0, kv_len]`.

        >>> import maskwork as mw
        >>> mw.causal().bind(4).tiles([0, 2, 4], [0, 2, 4])[0, 0].tolist()
        [[3, 0], [4, 3]]
        """
        return self._tiles(q_edges, k_edges, "q_edges", "k_edges")

    def _tiles(self, q_edges: Any, k_edges: Any, q_name: str, k_name: str) -> npt.NDArray[np.int64]:
        grid = self.grid
        q = _edges(q_edges, q_name, grid.q_start, grid.q_end) - grid.q_start
        return sp.count_tiles(self.spans, q, _edges(k_edges, k_name, 0, grid.kv_len))

    def rows(self, q0: int, q1: int) -> BoundMask:
        """The `BoundMask` of queries `[q0, q1)` alone, absolute positions; decoding is this.

        Until this mask's own geometry has been asked for, that of the other rows is not built.
        """
        grid = self.grid
        q0, q1 = as_int(q0, "rows(q0)", minimum=0), as_int(q1, "rows(q1)", minimum=0)
        if not grid.q_start <= q0 <= q1 <= grid.q_end:
            raise GridError(
                f"rows must lie in [{grid.q_start}, {grid.q_end}), got [{q0}, {q1}); ask for rows of this grid"
            )
        part = Grid(q0, q1 - q0, grid.kv_len, grid.batch, grid.heads)
        spans = self.spans.rows(q0 - grid.q_start, q1 - grid.q_start) if self._known else None
        return BoundMask(self.mask, part, spans)

    def select(self, *, q: Any = None, k: Any = None) -> BoundMask:
        """These queries against these keys, in any order: what a rolling cache, pages or a shard hold.

        Args:
            q: absolute query positions of this grid, int `(Q',)`; all of them when left out.
            k: absolute key positions, int `(K',)`; all when left out. -1 is an empty slot, which nothing sees.

        Returns:
            a `BoundMask` of shape `(B, H, Q', K')` whose row `i` is query `q[i]` and whose column `j` is key `k[j]`. It
            counts its own positions from 0.

        Raises:
            TooManySpans: the keys are so scattered that cells must be looked at, and those are more than 2**32.

        >>> import maskwork as mw
        >>> rolling = mw.sliding_window(3).bind(8).select(q=[5], k=[4, 5, 2, 3])   # slot = position % 4
        >>> rolling.dense()[0, 0].astype(int).tolist()
        [[1, 1, 0, 1]]
        """
        from ._questions.derived import select

        return select(self, q, k)

    def reach(self, layers: int, *, budget: int = sp.REACH_BUDGET) -> BoundMask:
        """What can influence what through `layers` layers of this mask with residual connections between them.

        A position reaches itself, what any head sees, and what those positions reach: `(mask | k == q)` to the power of
        `layers`. The keys in between are asked as queries too, wherever they stand. One head is left: `(B, 1, Q, K)`.

        Args:
            layers: number of layers; 0 leaves `k == q`.
            budget: interval slots that may be merged on the way; more raises `TooManySpans`. The default is about a
                minute of work. Masks of few runs need few: a million causal rows take some 40 million.

        >>> import maskwork as mw
        >>> mw.sliding_window(3).bind(100).reach(4).spans.row(50)    # 4 layers x 2 tokens back
        [(42, 51)]
        """
        from ._questions.derived import reach

        return reach(self, layers, budget)

    def cost(
        self,
        layers: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        dtype: Any = "bfloat16",
        block_size: int | tuple[int, int] = 128,
    ) -> Cost:
        """FLOPs, bytes moved, KV-cache bytes and block waste of attention under this mask, counted exactly.

        Args:
            layers: attention layers, all under this mask.
            heads: query heads.
            kv_heads: key and value heads, a divisor of `heads`.
            head_dim: width of a head.
            dtype: of queries, keys, values and the cache: a name or torch's dtype.
            block_size: tile of a block-sparse kernel, one size or `(q, kv)`.

        >>> import maskwork as mw
        >>> print(mw.causal().bind(4096).cost(layers=32, heads=32, kv_heads=8, head_dim=128))
        allowed pairs        4.40 TFLOP (50.01% of dense)
        in 128 x 128 blocks  4.54 TFLOP (3.0% waste)
        moved                35.00 GiB (121 FLOP per byte)
        KV cache             512.00 MiB, 512.00 MiB if evicted
        """
        from ._questions.cost import cost

        return cost(self, layers, heads, kv_heads, head_dim, dtype, block_size)

    def rows_at(self, positions: Ints) -> Spans:
        """The geometry of these absolute query positions of the grid, in this order, without that of the others."""
        if self._known:
            return sp.pick_rows(self.spans, positions - self.grid.q_start)
        spans = self.mask._spans(positions[None, None], self.grid.kv_len)
        return spans.expand((*spans.shape[:2], len(positions)))

    @property
    def _known(self) -> bool:
        """Whether the geometry of all rows is there already; where it is not, it may be too large ever to be."""
        return self._given is not None or "spans" in self.__dict__

    def empty_rows(self) -> npt.NDArray[np.bool_]:
        """bool `(B, H, Q)`: the queries that see no key, whose attention output is 0."""
        return self.spans.planes_starts[0] >= self.grid.kv_len

    def last_seen(self) -> npt.NDArray[np.int64]:
        """int64 `(B, H, K)`: per key, the absolute position of the last query that may see it, -1 if none does.

        Once that query has passed, a KV cache may evict the key (H2O and StreamingLLM guess it; this is exact).

        >>> import maskwork as mw
        >>> (mw.causal() & (mw.sliding_window(2) | mw.sinks(1))).bind(5).last_seen()[0, 0].tolist()
        [4, 2, 3, 4, 4]
        """
        row = sp.last_seen(self.spans)
        row[row >= 0] += self.grid.q_start
        return row

    def unseen_keys(self) -> npt.NDArray[np.bool_]:
        """bool `(B, H, K)`: the keys that no query of the grid sees."""
        return self.last_seen() < 0

    def blocks(self, block_size: int | tuple[int, int] = 128, *, short_is_full: bool = True) -> sp.Blocks:
        """The exact block structure: which blocks are empty, partial and full. Nothing is sampled.

        Args:
            block_size: cells in a block, along both sides or as `(q, kv)`. The first block of queries begins at the
                grid's first query.
            short_is_full: whether a block that the grid's end cuts short is full when all the cells that it has are
                allowed. torch's `create_block_mask` fills it up with forbidden cells and has it partial: False.

        >>> import maskwork as mw
        >>> mw.causal().bind(300).blocks(100)
        Blocks(3 x 3 of 100 x 100: 3 full, 3 partial, 3 empty)
        """
        sizes = block_size if isinstance(block_size, tuple) else (block_size, block_size)
        q_size, kv_size = (as_int(size, "block_size", minimum=1) for size in sizes)
        key = ("blocks", q_size, kv_size, short_is_full)
        return self.memo(key, lambda: sp.classify(self.spans, q_size, kv_size, short_is_full=short_is_full))

    def subset_of(self, other: Mask | BoundMask) -> Verdict:
        """Whether every cell allowed here is allowed by `other`; a proof, with a counterexample when it is false."""
        there = self._same_grid(other)
        return self._verdict(sp.first_outside(self.spans, there.spans), "is a subset of", there)

    def equals(self, other: Mask | BoundMask) -> Verdict:
        """Whether both allow exactly the same cells of this grid."""
        there = self._same_grid(other)
        return self._verdict(sp.first_difference(self.spans, there.spans), "equals", there)

    def disjoint(self, other: Mask | BoundMask) -> Verdict:
        """Whether no cell is allowed by both."""
        there = self._same_grid(other)
        return self._verdict(sp.first_common(self.spans, there.spans), "is disjoint from", there)

    def diff(self, other: Mask | BoundMask, *, first: int = 3) -> Diff:
        """Where two masks differ: exact counts of both, only this one, only `other` and neither, and first cells.

        Args:
            other: a mask, which is bound to this grid, or a bound mask on the same grid.
            first: how many cells of each difference to name.

        >>> import maskwork as mw
        >>> mw.sliding_window(4096).bind(1_000_000).diff(mw.sliding_window(4097)).only_right
        995904
        """
        from ._questions.diff import diff

        return diff(self, self._same_grid(other), as_int(first, "first", minimum=0))

    def explain(self, q: int, k: int, b: int = 0, h: int = 0) -> Explanation:
        """Why query `q` may see key `k`, or the smallest set of term occurrences that blocks it.

        Only the one row is evaluated, whatever the grid's size. Where one blocked operand of `&` is enough, the one
        with the smallest explanation is given; a blocked `|` needs all its operands blocked.

        Args:
            q: absolute query position within the grid.
            k: absolute key position within `[0, kv_len)`.
            b: batch row.
            h: head.

        Raises:
            GridError: the cell lies outside the grid.

        >>> import maskwork as mw
        >>> print(mw.within(mw.causal(), [3, 4]).bind(7).explain(4, 5))
        blocked: query 4, key 5
        ✗ within(causal, [3, 4]): in document 1 [3, 7) query 4 is 1 and key 5 is 2
          ✗ causal: key 2 is 1 ahead of query 1
        """
        q, k, (b, h) = as_int(q, "q", minimum=0), as_int(k, "k", minimum=0), self.plane(b, h)
        grid = self.grid
        if not (grid.q_start <= q < grid.q_end and k < grid.kv_len):
            raise GridError(
                f"explain takes a cell of the grid, queries [{grid.q_start}, {grid.q_end}) and keys "
                f"[0, {grid.kv_len}), got query {q} and key {k}; ask for absolute positions inside it"
            )
        return self.mask._explain(Cell(q, k, b, h, grid.kv_len))

    def plane(self, b: int, h: int) -> tuple[int, int]:
        """`(b, h)` as given, once they are known to be a batch row and a head of this grid."""
        b, h = as_int(b, "b", minimum=0), as_int(h, "h", minimum=0)
        batch, heads = self.grid.batch, self.grid.heads
        if b >= batch or h >= heads:
            raise GridError(
                f"the grid has {batch} batch rows and {heads} heads, got batch row {b} and head {h}; bind with "
                "batch= and heads=, or ask for one that is there"
            )
        return b, h

    def show(self, width: int | None = None, *, b: int = 0, h: int = 0) -> None:
        """Print a drawing that fits the terminal; every character is counted exactly, at any length.

        Args:
            width: columns, the terminal's when left out.
            b: batch row to draw.
            h: head to draw.

        >>> import maskwork as mw
        >>> mw.sliding_window(2).bind(4).show()
        sliding_window(2)
        7 of 16 pairs allowed (43.8%)
          0
        0 ██······
        1 ████····
        2 ··████··
        3 ····████
        rows: queries ↓   columns: keys →
        █ may attend   · may not
        """
        from ._drawing.terminal import draw_text, printable

        print(printable(draw_text(self, width, b=b, h=h), sys.stdout.encoding))

    def svg(self, *, b: int = 0, h: int = 0, size: int = 384, labels: bool = True) -> str:
        """The drawing as an SVG document, exact at any length.

        Args:
            b: batch row to draw.
            h: head to draw.
            size: pixels of the drawing's longer side, without its labels.
            labels: whether to write title, positions and legend round it.
        """
        from ._drawing.svg import draw_svg

        return draw_svg(self, b, h, size, labels)

    def _repr_html_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        grid = self.grid
        return f"BoundMask({self.mask!r}, queries [{grid.q_start}, {grid.q_end}), keys [0, {grid.kv_len}))"

    def __reduce__(self) -> tuple[type[BoundMask], tuple[Mask, Grid, Spans | None]]:
        return BoundMask, (self.mask, self.grid, self._given)  # without what can be worked out again

    def memo(self, key: Hashable, make: Callable[[], T]) -> T:
        """The lowering filed under `key`, made on first use: 32 layers lower once."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    @property
    def has_shape(self) -> bool:
        """Whether its shape was asked for before: reading it again works nothing out."""
        return self._shape is not None

    def has_memo(self, key: Hashable) -> bool:
        """Whether something is filed under `key`."""
        return key in self._memo

    def _same_grid(self, other: Mask | BoundMask) -> BoundMask:
        grid = self.grid
        if isinstance(other, Mask):
            other = other.bind(grid.q_len, grid.kv_len, q_start=grid.q_start)
        if not isinstance(other, BoundMask):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MaskError(f"a mask is compared with a mask, got {type(other).__name__}; build one with mw.causal() …")
        lead, there = self.shape[:2], other.shape[:2]
        if any(1 != n != m != 1 for n, m in zip(lead, there, strict=True)):
            raise GridError(f"two masks are compared over the same batch and heads, got (B, H) {lead} and {there}")
        if (other.grid.q_start, other.grid.q_len, other.grid.kv_len) != (
            grid.q_start,
            grid.q_len,
            grid.kv_len,
        ):
            raise GridError(f"two masks are compared on one grid, got {self!r} and {other!r}; bind both alike")
        return other

    def _verdict(self, cell: sp.FirstCell, relation: str, there: BoundMask) -> Verdict:
        """The claim that no cell breaks a relation, with the first one that does, if any."""
        if cell is not None:
            cell = (cell[0], cell[1], cell[2] + self.grid.q_start, cell[3])
        return Verdict(f"{self.mask!r} {relation} {there.mask!r}", cell)


def _edges(values: Any, name: str, low: int, high: int) -> Ints:
    edges = as_ints(values, name, ndims=(1,), minimum=None)
    if len(edges) < 2 or edges[0] < low or edges[-1] > high or (np.diff(edges) < 0).any():
        raise MaskError(
            f"{name} must be at least two non-decreasing positions within [{low}, {high}], got {edges.tolist()}; "
            "ask for positions of this grid"
        )
    return edges
