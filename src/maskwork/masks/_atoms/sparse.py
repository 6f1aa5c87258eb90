"""The atoms of sparse attention: global tokens, dilated windows and BigBird's random blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import GridError, MaskError
from ...spans import Spans, by_chunks, check_budget, distinct, gather_runs, take_rows
from .._arrays import Ints, as_int, as_ints, batch_of
from .._extent import Extent, from_zero
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec


class _GlobalTokens(Mask):
    """The mask of `global_tokens`."""

    many_runs = True

    def __init__(self, positions: Ints) -> None:
        self.positions = positions

    def _spec(self) -> Spec:
        return Spec("global_tokens", (self.positions,))

    @property
    def batch(self) -> int:
        return batch_of(self.positions)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        rows = np.atleast_2d(self.positions)
        firsts = [_runs_of(row[(row >= 0) & (row < kv_len)]) for row in rows]
        runs = max(1, *(len(first) for first, _ in firsts))
        lead = np.broadcast_shapes((len(rows), 1), queries.shape[:2])
        check_budget(runs, lead[0] * lead[1] * queries.shape[2])
        keys = np.full((2, runs, len(rows), 1, 1), kv_len, dtype=np.int64)
        for b, pair in enumerate(firsts):
            for side, values in enumerate(pair):
                keys[side, : len(values), b, 0, 0] = values
        is_global = np.zeros((*lead, queries.shape[2]), dtype=np.bool_)
        for b, plane in enumerate(is_global):
            plane |= np.isin(queries[min(b, len(queries) - 1)], rows[min(b, len(rows) - 1)])
        is_global &= queries >= 0  # -1 stands for no token
        # A global query sees every key: each of its runs is all keys, and `gather_runs` merges them.
        starts = np.where(is_global, 0, keys[0])
        ends = np.where(is_global, kv_len, keys[1])
        return gather_runs(starts, ends, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        positions = np.atleast_2d(self.positions)[cell.batch if self.batch > 1 else 0]
        positions = positions[positions >= 0]  # -1 stands for no token
        is_query, is_key = ((positions == position).any() for position in (cell.query, cell.key))
        if is_query or is_key:
            return f"{f'query {cell.query}' if is_query else f'key {cell.key}'} is a global token"
        return f"neither query {cell.query} nor key {cell.key} is a global token"


@atom(Form("global_tokens(positions)", "", "`q` or `k` is one of `positions`"))
def global_tokens(positions: Any) -> Mask:
    """Allow `q` or `k` among `positions`: tokens that see every key and that every query sees.

    Longformer's global attention (Beltagy et al. 2020), ETC's and BigBird's ITC. Their `global_attention_mask` is a 0/1
    array, whose `.nonzero()` are these positions. In a decoder, write `causal() & global_tokens(p)`.

    Args:
        positions: int `(G,)`, or `(B, G)` with one set per batch row, where -1 stands for no token; a list of lists
            may be ragged. Positions beyond a grid say nothing about it.

    Raises:
        MaskError: a position is below -1 (below 0 in a single list).

    >>> import maskwork as mw
    >>> mw.global_tokens([1]).bind(3).dense().astype(int)[0, 0].tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    array = as_ints(positions, "global_tokens(positions)", ndims=(1, 2), minimum=-1, fill=-1, squeeze=False)
    if array.ndim == 1 and array.min(initial=0) < 0:
        raise MaskError(f"global_tokens(positions) must be at least 0, got {array.min()}; leave it out")
    # Each row sorted, each position once and -1 in front: equal sets are equal masks.
    rows = np.sort(np.atleast_2d(array), axis=1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
    rows = np.sort(rows, axis=1)
    rows = rows[:, (rows >= 0).any(axis=0)]
    return _GlobalTokens(as_ints(rows, "global_tokens(positions)", ndims=(1, 2), minimum=-1))


class _Dilated(Mask):
    """The mask of `dilated`."""

    relative = True
    many_runs = True

    def __init__(self, hops: int, rate: int) -> None:
        self.hops, self.rate = hops, rate

    def _spec(self) -> Spec:
        return Spec("dilated", (self.hops, self.rate))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # With a rate of 1, neighbours merge: the row is one run.
        if self.rate == 1:
            return gather_runs((queries - self.hops)[None], (queries + self.hops + 1)[None], kv_len)
        runs = max(1, min(2 * self.hops + 1, -(-kv_len // self.rate)))
        check_budget(runs, queries.size)
        return by_chunks(queries, kv_len, lambda part: self._hops(part, runs, kv_len))

    def _hops(self, queries: Queries, runs: int, kv_len: int) -> Spans:
        # No position lies beyond 2**31; the product of both parameters might not fit int64.
        furthest = min(self.hops, 2**31 // self.rate + 1) * self.rate
        # Start at the first hop that is a key, so that rows are sorted and short grids have short rows.
        first = queries - self.rate * np.minimum(self.hops, queries // self.rate)
        keys = first + self.rate * np.arange(runs, dtype=np.int64).reshape(-1, 1, 1, 1)
        return gather_runs(keys, np.where(keys <= queries + furthest, keys + 1, keys), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return f"{cell.distance()}, window sees keys {self.rate} apart, up to {self.hops * self.rate} away"


@atom(
    Form(
        "dilated(hops, rate)",
        "|q - k| <= hops * rate and (q - k) % rate == 0",
        "every `rate`-th key, `hops` of them on either side",
    )
)
def dilated(hops: int, rate: int) -> Mask:
    """Allow `|q - k| <= hops * rate and (q - k) % rate == 0`: every `rate`-th key, `hops` of them on either side.

    Longformer's dilated window (Beltagy et al. 2020), Sparse Transformer's strided pattern (Child et al. 2019) when
    intersected with `causal()`. `dilated(hops, 1)` is the plain window of `hops` keys on either side.

    Args:
        hops: keys on either side besides the query's own, at least 0.
        rate: distance from one key to the next, at least 1.

    | library | its way to say `dilated(h, r)` |
    | --- | --- |
    | Longformer `attention_window=w, attention_dilation=d` (one-sided `w`) | `w = h, d = r` |
    | NATTEN `na1d(kernel_size, dilation)` | `kernel_size = 2 * h + 1, dilation = r`; it shifts windows at the edges |
    | Sparse Transformer, stride `l`, of `n` tokens | `causal() & dilated(n // l, l)` |

    >>> import maskwork as mw
    >>> mw.dilated(1, 2).bind(6).spans.row(3)
    [(1, 2), (3, 4), (5, 6)]
    """
    return _Dilated(as_int(hops, "dilated(hops)", minimum=0), as_int(rate, "dilated(rate)", minimum=1))


class _RandomBlocks(Mask):
    """The mask of `random_blocks`."""

    def __init__(self, per_row: int, block_size: int, blocks: int, seed: int) -> None:
        self.per_row, self.block_size, self.blocks, self.seed = per_row, block_size, blocks, seed

    def _spec(self) -> Spec:
        return Spec("random_blocks", (self.per_row, self.block_size, self.blocks, self.seed))

    def _check(self, extent: Extent) -> None:
        covered, need = self.blocks * self.block_size, max(extent.queries, extent.keys)
        if covered < need:
            raise GridError(
                f"random_blocks covers blocks * block_size positions, at least the grid's {need}, got {self!r}, which "
                f"covers {covered}; pass blocks={-(-need // self.block_size)}"
            )

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        block_rows, index = distinct(queries // self.block_size)
        check_budget(max(self.per_row, 1), len(block_rows))
        first = self.block_size * draw_blocks(self.per_row, self.blocks, self.seed, block_rows)[:, None, None]
        # Rows without blocks have one run, which is empty.
        if not len(first):
            first = np.full((1, 1, 1, 1), kv_len, dtype=np.int64)
        return take_rows(gather_runs(first, first + self.block_size, kv_len), index)

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = cell.query // self.block_size, cell.key // self.block_size
        drawn = draw_blocks(self.per_row, self.blocks, self.seed, np.array([of_query], dtype=np.int64))[:, 0]
        return (
            f"key {cell.key} is in block {of_key}, block {of_query} of query {cell.query} drew {sorted(drawn.tolist())}"
        )


@atom(
    Form(
        "random_blocks(per_row, block_size, blocks, seed)",
        "",
        "`k`'s block is one of `per_row` that `q`'s block drew: a hash, the same everywhere",
    )
)
def random_blocks(per_row: int, block_size: int, blocks: int, seed: int) -> Mask:
    """Allow `k` in one of the `per_row` blocks that are drawn for `q`'s block: BigBird's random attention.

    Zaheer et al. 2020. Block row `r` gets exactly `per_row` distinct blocks of `[0, blocks)`, each subset equally
    likely, drawn by Floyd's algorithm (Bentley and Floyd 1987) from a counter-based hash: with `mix` the output
    function of splitmix64 (Steele et al. 2014), draw `i` is `mix(mix(mix(seed) + r) + i)`, modulo the number to choose
    from. The mask holds no state and uses no random generator: it is the same on every machine and version.

    Args:
        per_row: blocks that each block row sees, at least 0 and at most `blocks`.
        block_size: positions per block, at least 1.
        blocks: blocks in the sequence; `blocks * block_size` must cover the grid.
        seed: which drawing, in `[0, 2**53)`, which JSON carries; a different one per layer or head is usual.

    Raises:
        MaskError: a parameter outside its range.
        GridError: on binding, `blocks * block_size` is short of the grid.

    Hugging Face's BigBird never draws the first, last and neighbouring blocks, which its other terms allow already;
    here any block may be drawn, so that a few draws fall on those.

    >>> import maskwork as mw
    >>> mw.random_blocks(2, 4, 8, seed=0).bind(32).spans.row(0)
    [(12, 16), (20, 24)]
    """
    mask = _RandomBlocks(
        as_int(per_row, "random_blocks(per_row)", minimum=0),
        as_int(block_size, "random_blocks(block_size)", minimum=1),
        as_int(blocks, "random_blocks(blocks)", minimum=1),
        as_int(seed, "random_blocks(seed)", minimum=0, maximum=2**53 - 1),
    )
    if mask.per_row > mask.blocks:
        raise MaskError(
            f"a block row has at most all {mask.blocks} blocks, got per_row={mask.per_row}; pass a smaller per_row"
        )
    if mask.blocks * mask.block_size >= 2**62:
        raise MaskError(f"random_blocks covers fewer than 2**62 positions, got {mask!r}; pass smaller blocks")
    return mask


def draw_blocks(per_row: int, blocks: int, seed: int, rows: Ints) -> Ints:
    """Return distinct blocks for each block row, in the order drawn: int64 `(per_row, len(rows))`."""
    key = _mix(_mix(np.array([seed], dtype=np.uint64)) + rows.astype(np.uint64))
    drawn = np.zeros((per_row, len(rows)), dtype=np.int64)
    for i in range(per_row):
        top = blocks - per_row + i
        choice = (_mix(key + np.uint64(i)) % np.uint64(top + 1)).astype(np.int64)
        # Floyd: a block that was drawn before is replaced by `top`, which no earlier draw could choose.
        drawn[i] = np.where((drawn[:i] == choice).any(axis=0), top, choice)
    return drawn


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64's number after state `x`. Arrays of uint64 wrap round, as the algorithm requires."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _runs_of(values: Ints) -> tuple[Ints, Ints]:
    """Return where the runs of neighbouring numbers start and end, in sorted distinct values."""
    breaks = np.flatnonzero(np.diff(values) != 1) + 1
    first = np.concatenate([np.zeros(min(len(values), 1), dtype=np.int64), breaks])
    last = np.concatenate([breaks, np.full(min(len(values), 1), len(values), dtype=np.int64)]) - 1
    return values[first], values[last] + 1
