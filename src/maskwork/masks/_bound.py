"""`BoundMask`: a mask on a grid, with its exact geometry. `Mask.bind` makes it, so that both import in a circle."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import spans as sp
from .._shared.numbers import LARGEST_SIZE
from ..errors import GridError, MaskError
from ..spans import Spans
from ._arrays import LARGEST, Ints, as_int, as_ints
from ._grid import Grid, evaluate
from ._mask import Mask
from ._questions.derived import Derived
from ._questions.diff import Diff, diff
from ._questions.explain import Cell, Explanation
from ._questions.reach import reach
from ._questions.select import select
from ._questions.verdict import Verdict

if TYPE_CHECKING:
    from ._questions.cost import Cost

T = TypeVar("T")


class Lowerings:
    """Lowerings of one bound mask by key, such as `("dense", device)`: 32 layers lower the mask once."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the lowering of `key`; the first call makes it with `make`."""
        if key not in self._by_key:
            self._by_key[key] = make()
        return self._by_key[key]

    def has(self, key: Hashable) -> bool:
        """Return whether the lowering of `key` was made."""
        return key in self._by_key


class BoundMask:
    """A mask on a grid, made by `mask.bind(...)`. Query and key positions in its methods are absolute.

    Attributes:
        mask: the mask.
        grid: the queries, keys, batch rows and heads of the grid.

    >>> import maskwork as mw
    >>> bound = mw.causal().bind(1_000_000)
    >>> bound.allowed, bound.shape
    (500000500000, (1, 1, 1000000, 1000000))
    """

    def __init__(
        self, mask: Mask, grid: Grid, spans: Spans | None = None, positions: tuple[Ints, Ints] | None = None
    ) -> None:
        self.mask = mask
        self.grid = grid
        self._precomputed = spans
        # Of a selection: where its queries and keys came from. The grid's own positions are counted otherwise.
        self._positions = positions
        # Spans and shape are computed on first use: a grid may be bound that is too large for its spans.
        self._spans: Spans | None = None
        self._shape: tuple[int, int, int, int] | None = None
        self._lowerings = Lowerings()

    @property
    def spans(self) -> Spans:
        """The exact geometry, with one row for every query of the grid; computed on first use."""
        if self._spans is None:
            spans = evaluate(self.mask, self.grid) if self._precomputed is None else self._precomputed
            batch, heads, _ = spans.shape
            spans = spans.expand((batch, heads, self.grid.q_len))
            self._spans = spans if self.grid.q_len else spans.trim()  # without rows no slot is used
        return self._spans

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(B, H, Q, K)`; B and H are 1 where nothing differs along them."""
        # Stored as numbers: compiled code reads and guards the shape, and would guard the arrays of the spans.
        if self._shape is None:
            self._shape = (*self.spans.shape, self.grid.kv_len)
        return self._shape

    @property
    def q_positions(self) -> Ints:
        """The queries' absolute positions: int64 `(B, Q)`, B = 1 where all batch rows have the same.

        Those of a selection are the positions that were selected, although its rows count from 0.
        """
        return self.grid.queries()[:, 0] if self._positions is None else self._positions[0]

    @property
    def k_positions(self) -> Ints:
        """The keys' absolute positions, as `q_positions`: int64 `(B, K)`; -1 is an empty slot of a selection."""
        if self._positions is None:
            return np.arange(self.grid.kv_len, dtype=np.int64)[None]
        return self._positions[1]

    @property
    def allowed(self) -> int:
        """Exact number of allowed (query, key) pairs over `shape`."""
        return self.spans.allowed

    @property
    def density(self) -> float:
        """Share of allowed pairs among all pairs, 0.0 on an empty grid."""
        cells = math.prod(self.shape)
        return self.allowed / cells if cells else 0.0

    def dense(self) -> npt.NDArray[np.bool_]:
        """Return every cell: bool `(B, H, Q, K)`, True where attention is allowed. For small grids."""
        return self.spans.dense()

    def count(self, q0: int, q1: int, k0: int, k1: int) -> npt.NDArray[np.int64]:
        """Count the allowed pairs with `q0 <= q < q1` and `k0 <= k < k1`, exactly: int64 `(B, H)`."""
        return self._tiles([q0, q1], [k0, k1], "count's q0, q1", "count's k0, k1")[..., 0, 0]

    def tiles(self, q_edges: Any, k_edges: Any) -> npt.NDArray[np.int64]:
        """Count the allowed pairs in a grid of rectangles, exactly: int64 `(B, H, len(q_edges) - 1, len(k_edges) - 1)`.

        Args:
            q_edges: non-decreasing absolute query positions within the grid. Where batch rows start at positions of
                their own, positions that a row does not have hold no queries of that row.
            k_edges: non-decreasing key positions within `[0, kv_len]`.

        >>> import maskwork as mw
        >>> mw.causal().bind(4).tiles([0, 2, 4], [0, 2, 4])[0, 0].tolist()
        [[3, 0], [4, 3]]
        """
        return self._tiles(q_edges, k_edges, "q_edges", "k_edges")

    def _tiles(self, q_edges: Any, k_edges: Any, q_name: str, k_name: str) -> npt.NDArray[np.int64]:
        grid, spans = self.grid, self.spans
        q = _edges(q_edges, q_name, grid.q_first, grid.q_end)
        k = _edges(k_edges, k_name, 0, grid.kv_len)
        # spans count rows from 0, callers count positions
        if not isinstance(grid.q_start, tuple):
            return sp.count_tiles(spans, q - grid.q_start, k)
        counts = [
            sp.count_tiles(spans.batch_row(b), np.clip(q - start, 0, grid.q_len), k)
            for b, start in enumerate(grid.q_start)
        ]
        return np.concatenate(counts)

    def rows(self, q0: Any, q1: Any) -> BoundMask:
        """Return the `BoundMask` of queries `[q0, q1)`, absolute positions; decoding is this.

        The spans of the other rows are not computed, unless `spans` of this mask already were.

        Args:
            q0: the first query: an int, or one for each batch row, as sequences of unlike length are decoded.
            q1: one past the last query; each batch row has the same number of queries.

        >>> import maskwork as mw
        >>> mw.causal().bind(8, batch=2).rows([2, 5], [3, 6]).dense().sum(-1)[:, 0, 0].tolist()
        [3, 6]
        """
        grid = self.grid
        first, last = (_row_edges(value, name, grid.batch) for value, name in ((q0, "q0"), (q1, "q1")))
        starts = np.broadcast_to(grid.starts, first.shape) if len(first) > 1 else grid.starts
        if (first < starts).any() or (first > last).any() or (last > starts + grid.q_len).any():
            raise GridError(f"rows must lie in {_extent_text(grid)}, got [{q0}, {q1}); choose rows of this grid")
        if len(set((last - first).tolist())) > 1:
            raise GridError(
                f"each batch row has as many rows as the others, got [{q0}, {q1}); fill the shorter ones up"
            )
        offsets, count = first - starts, int((last - first)[0])
        part = Grid(tuple(first.tolist()), count, grid.kv_len, grid.batch, grid.heads, grid.start_given)
        spans = None
        if self._has_spans:
            row = int(offsets[0])
            if len(set(offsets.tolist())) == 1:
                spans = self.spans.rows(row, row + count)
            else:
                spans = sp.take_rows(self.spans, offsets.reshape(-1, 1, 1) + np.arange(count))
        positions = self._positions
        if positions is not None:
            rows = offsets[:, None] + np.arange(count)
            queries = np.broadcast_to(positions[0], (max(len(positions[0]), len(rows)), positions[0].shape[1]))
            positions = np.take_along_axis(queries, np.broadcast_to(rows, (len(queries), count)), 1), positions[1]
        return BoundMask(self.mask, part, spans, positions)

    def select(self, *, q: Any = None, k: Any = None) -> BoundMask:
        """Select queries and keys in any order: what a rolling cache, pages or a shard hold.

        Args:
            q: absolute query positions of this grid, int `(Q',)`, or `(B, Q')` with those of each batch row; all of
                them when left out.
            k: absolute key positions, int `(K',)` or `(B, K')`, as rings and page tables of each sequence hold them;
                all when left out. -1 is an empty slot, which no query sees.

        Returns:
            a `BoundMask` of shape `(B, H, Q', K')` whose row `i` is query `q[i]` and whose column `j` is key `k[j]`.
            Its grid counts from 0; `q_positions` and `k_positions` are those selected, which position biases use.

        Raises:
            TooManySpans: the keys are so scattered that cells must be evaluated, and there are more than 2**32.

        >>> import maskwork as mw
        >>> rolling = mw.sliding_window(3).bind(8).select(q=[5], k=[4, 5, 2, 3])   # slot = position % 4
        >>> rolling.dense()[0, 0].astype(int).tolist()
        [[1, 1, 0, 1]]
        """
        text, spans, grid, positions = select(
            repr(self), self.grid, (self.q_positions, self.k_positions), self._rows_at, q, k
        )
        return BoundMask(Derived(text, spans, 0, selected=True), grid, spans, positions)

    def reach(self, layers: int, *, budget: int = sp.REACH_BUDGET) -> BoundMask:
        """Compute what can influence what through `layers` layers of this mask with residual connections.

        A position reaches itself, what any head sees, and what those positions reach: `(mask | k == q)` to the power of
        `layers`. The keys in between act as queries too, also outside this grid. The result has one head:
        `(B, 1, Q, K)`.

        Args:
            layers: number of layers; 0 leaves `k == q`.
            budget: interval slots that may be merged on the way; more raises `TooManySpans`. The default is about a
                minute of work. Masks of few runs need few: a million causal rows take some 40 million.

        >>> import maskwork as mw
        >>> mw.sliding_window(3).bind(100).reach(4).spans.row(50)    # 4 layers x 2 tokens back
        [(42, 51)]
        """
        if self._positions is not None:
            raise GridError(
                f"reach counts queries and keys from one position on, got a selection, {self!r:.120}; take the reach "
                "first, then select"
            )
        text, spans, grid = reach(self.mask, self.grid, lambda: self.spans, layers, budget)
        return BoundMask(Derived(text, spans, grid.q_start), grid, spans)

    def cost(
        self,
        layers: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        dtype: Any = "bfloat16",
        block_size: int | tuple[int, int] = 128,
    ) -> Cost:
        """Count FLOPs, bytes moved, KV-cache bytes and block waste of attention under this mask, exactly.

        Args:
            layers: attention layers, each under this mask.
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
        # Costs and drawings are imported on use: most programs need neither, and import faster.
        from ._questions.cost import cost

        blocks = self.blocks(block_size)
        return cost(self.spans, self.grid, blocks, layers, heads, kv_heads, head_dim, dtype)

    def empty_rows(self) -> npt.NDArray[np.bool_]:
        """Mark the queries that see no key, whose attention output is 0: bool `(B, H, Q)`."""
        return self.spans.planes_starts[0] >= self.grid.kv_len

    def last_seen(self) -> npt.NDArray[np.int64]:
        """Return per key the absolute position of the last query that may see the key, -1 if none: int64 `(B, H, K)`.

        Where queries stand before position 0, "none" is the position before the first of them.

        After that query, a KV cache may evict the key (H2O and StreamingLLM guess it; this is exact).

        >>> import maskwork as mw
        >>> (mw.causal() & (mw.sliding_window(2) | mw.sinks(1))).bind(5).last_seen()[0, 0].tolist()
        [4, 2, 3, 4, 4]
        """
        last = sp.last_seen(self.spans)
        # from rows of the spans to positions; -1 stays below every position
        starts = np.broadcast_to(self.grid.starts.reshape(-1, 1, 1), (max(len(last), len(self.grid.starts)), 1, 1))
        return np.where(last >= 0, last + starts, min(-1, self.grid.q_first - 1))

    def blocks(self, block_size: int | tuple[int, int] = 128, *, short_is_full: bool = True) -> sp.Blocks:
        """Determine which blocks are empty, partial and full, exactly: nothing is sampled.

        Args:
            block_size: cells in a block, along both sides or as `(q, kv)`. The first block of queries starts at the
                grid's first query.
            short_is_full: whether a block that the end of the grid cuts short is full when all its cells in the grid
                are allowed. False is the rule of torch's `create_block_mask`, which calls such a block partial.

        >>> import maskwork as mw
        >>> mw.causal().bind(300).blocks(100)
        Blocks(3 x 3 of 100 x 100: 3 full, 3 partial, 3 empty)
        """
        sizes = block_size if isinstance(block_size, tuple) else (block_size, block_size)
        q_size, kv_size = (as_int(size, "block_size", minimum=1, maximum=LARGEST_SIZE) for size in sizes)
        key = ("blocks", q_size, kv_size, short_is_full)
        return self._lowerings.get(key, lambda: sp.classify(self.spans, q_size, kv_size, short_is_full=short_is_full))

    def subset_of(self, other: Mask | BoundMask) -> Verdict:
        """Prove that `other` allows every cell of this mask, or return a counterexample."""
        other = self._same_grid(other)
        return self._verdict(sp.first_outside(self.spans, other.spans), "is a subset of", other)

    def equals(self, other: Mask | BoundMask) -> Verdict:
        """Prove that both masks allow exactly the same cells of this grid, or return a counterexample."""
        other = self._same_grid(other)
        return self._verdict(sp.first_difference(self.spans, other.spans), "equals", other)

    def disjoint(self, other: Mask | BoundMask) -> Verdict:
        """Prove that no cell is allowed by both masks, or return a counterexample."""
        other = self._same_grid(other)
        return self._verdict(sp.first_common(self.spans, other.spans), "is disjoint from", other)

    def diff(self, other: Mask | BoundMask, *, first: int = 3) -> Diff:
        """Compare two masks: exact counts of both, only this mask, only `other` and neither, and the first cells.

        Args:
            other: a mask, which is bound to this grid, or a bound mask on the same grid.
            first: how many cells of each difference to name.

        >>> import maskwork as mw
        >>> mw.sliding_window(4096).bind(1_000_000).diff(mw.sliding_window(4097)).only_right
        995904
        """
        other, first = self._same_grid(other), as_int(first, "first", minimum=0)
        return diff((repr(self.mask), repr(other.mask)), self.spans, other.spans, self.grid.start_of, first)

    def explain(self, q: int, k: int, b: int = 0, h: int = 0) -> Explanation:
        """Explain why query `q` may see key `k`, or return the smallest set of term occurrences that blocks the pair.

        Only one row is evaluated, whatever the grid's size. Where one blocked operand of `&` is enough, the operand
        with the smallest explanation is returned; a blocked `|` needs all its operands blocked.

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
        q, k, (b, h) = as_int(q, "q", minimum=-LARGEST), as_int(k, "k", minimum=0), self.grid.check_plane(b, h)
        grid, start = self.grid, self.grid.start_of(b)
        if not (start <= q < start + grid.q_len and k < grid.kv_len):
            raise GridError(
                f"explain takes a cell of the grid, queries [{start}, {start + grid.q_len}) and keys "
                f"[0, {grid.kv_len}), got query {q} and key {k}; pass absolute positions inside the grid"
            )
        # The mask evaluates one row for this cell: the spans of the grid are not needed.
        return self.mask._explain(Cell(q, k, b, h, grid.kv_len))

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

        b, h = self.grid.check_plane(b, h)
        width = None if width is None else as_int(width, "width", minimum=1)
        drawing = draw_text(repr(self.mask), self.spans, self.grid.of_row(b), width, b=b, h=h)
        print(printable(drawing, sys.stdout.encoding))

    def svg(self, *, b: int = 0, h: int = 0, size: int = 384, labels: bool = True) -> str:
        """Return the drawing as an SVG document, exact at any length.

        Args:
            b: batch row to draw.
            h: head to draw.
            size: pixels of the drawing's longer side, without labels.
            labels: whether to write title, positions and legend around the drawing.
        """
        from ._drawing.svg import draw_svg

        b, h = self.grid.check_plane(b, h)
        size = as_int(size, "size", minimum=1)
        return draw_svg(repr(self.mask), self.spans, self.grid.of_row(b), b, h, size, labels)

    # Notebooks call this to display the mask.
    def _repr_html_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        grid = self.grid
        return f"BoundMask({self.mask!r}, queries {_extent_text(grid)}, keys [0, {grid.kv_len}))"

    def __reduce__(self) -> tuple[type[BoundMask], tuple[Mask, Grid, Spans | None, tuple[Ints, Ints] | None]]:
        # spans and lowerings can be computed again
        return BoundMask, (self.mask, self.grid, self._precomputed, self._positions)

    @property
    def _has_spans(self) -> bool:
        """Whether spans were computed. If not, computing them may exceed the budget."""
        return self._precomputed is not None or self._spans is not None

    def _rows_at(self, positions: Ints | None) -> Spans:
        """Return the spans of these absolute query positions `(B | 1, Q')`, in this order; of all queries for None."""
        if positions is None:
            return self.spans
        grid = self.grid
        if self._has_spans:
            rows = positions - grid.starts[:, None]
            spans = sp.pick_rows(self.spans, rows[0]) if len(rows) == 1 else sp.take_rows(self.spans, rows[:, None])
        else:
            spans = self.mask._spans(positions[:, None], grid.kv_len)
        return spans.expand((*spans.shape[:2], positions.shape[1]))

    def _same_grid(self, other: Mask | BoundMask) -> BoundMask:
        """Return `other` on this grid: a mask is bound to it, and a bound mask must be on the same grid."""
        grid = self.grid
        if isinstance(other, Mask):
            other = other.bind(grid.q_len, grid.kv_len, q_start=grid.q_start)
        if not isinstance(other, BoundMask):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MaskError(f"a mask is compared with a mask, got {type(other).__name__}; build one with mw.causal() …")
        lead, other_lead = self.shape[:2], other.shape[:2]
        # 1 stands for any number of batch rows or heads
        if any(1 != n != m != 1 for n, m in zip(lead, other_lead, strict=True)):
            raise GridError(f"two masks are compared over the same batch and heads, got (B, H) {lead} and {other_lead}")
        if (other.grid.q_start, other.grid.q_len, other.grid.kv_len) != (grid.q_start, grid.q_len, grid.kv_len):
            raise GridError(f"two masks are compared on one grid, got {self!r} and {other!r}; bind both alike")
        return other

    def _verdict(self, cell: sp.FirstCell, relation: str, other: BoundMask) -> Verdict:
        """Build the verdict on a relation from the first cell that breaks it, None = the relation holds."""
        if cell is not None:
            cell = (cell[0], cell[1], cell[2] + self.grid.start_of(cell[0]), cell[3])
        return Verdict(f"{self.mask!r} {relation} {other.mask!r}", cell)


def _row_edges(value: Any, name: str, batch: int) -> Ints:
    """Return an edge of rows as int64 `(1,)`, or `(B,)` where each batch row has its own."""
    if not isinstance(value, (list, tuple)) and not getattr(value, "ndim", 0):
        return np.array([as_int(value, f"rows({name})", minimum=-LARGEST)], dtype=np.int64)
    edges = as_ints(value, f"rows({name})", ndims=(1,), minimum=None)
    if len(edges) not in (1, batch):
        raise GridError(
            f"rows({name}) takes an int, or one for each of the {batch} batch rows, got {len(edges)}; pass as many as "
            "batch rows"
        )
    return edges


def _extent_text(grid: Grid) -> str:
    """Return the queries of a grid in words: `[0, 4)`, or one for each batch row."""
    parts = [f"[{start}, {start + grid.q_len})" for start in grid.starts.tolist()]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:4])}{', …' if len(parts) > 4 else ''} by batch row"


def _edges(values: Any, name: str, low: int, high: int) -> Ints:
    edges = as_ints(values, name, ndims=(1,), minimum=None)
    if len(edges) < 2 or edges[0] < low or edges[-1] > high or (np.diff(edges) < 0).any():
        raise MaskError(
            f"{name} must be at least two non-decreasing positions within [{low}, {high}], got {edges.tolist()}; "
            "choose positions of this grid"
        )
    return edges
