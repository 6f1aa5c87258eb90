"""FlexAttention's `BlockMask`, built from the spans: a new mask is new data for the same compiled kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.utils import _pytree

from .._shared.numbers import integer
from ..errors import ArgumentError, CannotExpress
from ..masks import BoundMask
from ..spans import BlockRuns, classify
from ._memo import lowered

#: The largest block: the tables of rows, filled up to whole blocks, still fit into memory.
LARGEST_BLOCK = 1 << 24

#: (b, h, q, k) -> bool, integer tensors that broadcast: FlexAttention's `mask_mod`, transformers' mask function.
TensorMaskMod = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

#: Most interval slots (rows times padded runs a row) that the kernel's tables may hold: 512 MiB of starts and ends.
MAX_TABLE = 1 << 26

# BlockMask's tensors, in the order in which it takes them.
_INDEX = [
    f"{full}{axis}_{table}" for axis in ("kv", "q") for full in ("", "full_") for table in ("num_blocks", "indices")
]

#: Most slots of an index table (batch x heads x rows x columns of blocks) that is as wide as torch's, 16 MiB. A larger
#: one is as wide as its longest row, so that a million tokens need no table of 67 million blocks.
MAX_WIDE_TABLE = 1 << 22

# The narrowest of these: a narrower one would save little, and each width costs a compilation.
_LEAST_WIDTH = 64


def to_block_mask(
    b: BoundMask, block_size: int | tuple[int, int] = 128, device: torch.device | str = "cpu"
) -> BlockMask:
    """Build a `torch.nn.attention.flex_attention.BlockMask` that allows exactly the cells of `b`.

    Args:
        b: a mask on `(B, H, Q, K)`; the lengths need not be multiples of the block size.
        block_size: queries and keys per block, one number for both or a pair `(q, kv)`. CUDA kernels need multiples of
            128 for their default tiles.
        device: the device of its tensors.

    Returns:
        A `BlockMask` of shape `b.shape` (B and H are 1 where nothing differs along them, which FlexAttention
        broadcasts). Query index 0 of its `mask_mod` is the grid's first query. The result is a pytree; `.to(device)`
        also moves the tables that its `mask_mod` reads, which torch's own `BlockMask` does not.

    Raises:
        CannotExpress: rows have so many runs that the tables would exceed `MAX_TABLE`.

    FlexAttention (Dong et al. 2024) skips empty blocks, runs full blocks without a mask and calls `mask_mod` for each
    cell of partial blocks. `create_block_mask` classifies blocks by evaluating all Q x K cells; `to_block_mask` derives
    them from the spans, exactly, in the same fields: the slots behind the blocks of a row hold the other blocks, as
    torch's do, so that `_adjust`, `to_dense` and `to_string` of the result are torch's. Above `MAX_WIDE_TABLE` slots
    the tables are narrower, and these methods widen them first.

    Its `mask_mod` looks the cell up in tables of starts and ends by bisection; of a mask that ignores the query they
    have one row. Run counts are padded to powers of two, so that masks on one grid differ only in data, and exchanging
    them compiles nothing.

    >>> import maskwork as mw
    >>> block_mask = mw.lower.to_block_mask(mw.causal().bind(512))
    >>> block_mask.kv_num_blocks.tolist(), block_mask.full_kv_num_blocks.tolist()
    ([[[1, 1, 1, 1]]], [[[0, 1, 2, 3]]])
    >>> mw.lower.to_block_mask(mw.causal().bind(512), block_size=(256, 128)).full_kv_num_blocks.tolist()
    [[[0, 2]]]
    """
    device = torch.device(device)
    sizes = _block_sizes(block_size)
    return lowered(b, ("block mask", sizes, device), lambda: _build(b, sizes, device))


def _block_sizes(block_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return `(q, kv)`, checked: a pair may be a tuple or a list, as in torch's `BLOCK_SIZE`."""
    pair = cast("Sequence[object]", block_size) if isinstance(block_size, tuple | list) else (block_size, block_size)
    if len(pair) != 2:
        raise ArgumentError(f"block_size is one number or a pair (q, kv), got {len(pair)} numbers; pass block_size=128")
    q_size, kv_size = (integer(size, "block_size", minimum=1, maximum=LARGEST_BLOCK) for size in pair)
    return q_size, kv_size


def span_mask_mod(starts: torch.Tensor, ends: torch.Tensor) -> TensorMaskMod:
    """Return FlexAttention's `mask_mod(b, h, q, k)` for tables of sorted runs.

    Args:
        starts: int32 `(B | 1, H | 1, rows, R)`, R a power of two; unused slots start beyond every key.
        ends: int32, the same shape; one past the last key of each run.

    The closure holds two tensors and no number, so that `torch.compile` guards shapes and never values.
    """

    def mask_mod(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        if starts.shape[0] == 1:
            b = torch.zeros_like(b)
        if starts.shape[1] == 1:
            h = torch.zeros_like(h)
        # Only the last run that starts at or before k can contain k: find it by bisection, without a branch.
        run = torch.zeros_like(k)
        step = starts.shape[3] // 2
        while step:
            run = torch.where(starts[b, h, q, run + step] <= k, run + step, run)
            step //= 2
        return (starts[b, h, q, run] <= k) & (k < ends[b, h, q, run])

    return mask_mod


def span_tables(b: BoundMask, rows: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return starts and ends for `span_mask_mod`, of `rows` rows; rows beyond the grid are empty.

    With `rows=1`, the first row stands for all.
    """
    spans = b.spans.rows(0, 1) if rows == 1 else b.spans
    batch, heads, q_len = spans.shape
    runs = power_of_two(spans.runs)
    if runs * batch * heads * q_len > MAX_TABLE:
        raise CannotExpress(
            f"FlexAttention's tables hold at most {MAX_TABLE} interval slots, got {b!r} with {spans.runs} runs a row "
            f"(padded to {runs}) x {batch * heads * q_len} rows; bind fewer rows with .rows(q0, q1), or use 'sdpa' "
            "or 'reference' on a grid small enough for a dense mask"
        )

    def table(planes: npt.NDArray[np.int32]) -> torch.Tensor:
        # The runs of a row are contiguous, because one look-up reads them.
        out = np.full((batch, heads, rows, runs), spans.kv_len, dtype=np.int32)
        out[:, :, :q_len, : spans.runs] = np.moveaxis(planes, 0, -1)
        return torch.from_numpy(out).to(device)

    return table(spans.planes_starts), table(spans.planes_ends)


def _of_any_query(first: TensorMaskMod) -> TensorMaskMod:
    """Return a function that reads the table's first row for every query."""

    def mask_mod(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return first(b, h, torch.zeros_like(q), k)

    return mask_mod


class _SpanBlockMask(BlockMask):
    """A `BlockMask` with the tables of its `mask_mod`, so that they move together."""

    tables: tuple[torch.Tensor, torch.Tensor]

    def to(self, device: torch.device | str) -> BlockMask:
        return _pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), self)

    def __getitem__(self, index: Any) -> BlockMask:
        return self._wide()[index]

    def to_dense(self) -> torch.Tensor:
        return self._wide().to_dense()

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        # torch's own raises or counts wrongly where the blocks of a row reach beyond the new length.
        lengths = (new_q_len, new_kv_len)
        if any(new > old for new, old in zip(lengths, self.seq_lengths, strict=True)):
            raise ArgumentError(
                f"a BlockMask is cut to at most its own lengths {self.seq_lengths}, got {lengths}; bind a longer mask"
            )
        rows, columns = (-(-length // size) for length, size in zip(lengths, self.BLOCK_SIZE, strict=True))
        blocks = [blocks[..., :rows, :columns] for blocks in self._kinds()]
        return _assemble((lengths, self.BLOCK_SIZE), [*_index_of(blocks), *self.tables])

    def _wide(self) -> BlockMask:
        """Return torch's own class with the same blocks, every index table as wide as there are blocks."""
        index = _index_of(self._kinds())
        return BlockMask(self.seq_lengths, *index, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod)

    def _kinds(self) -> list[torch.Tensor]:
        """Tell which blocks are partial, then which are full: int8 `(B, H, rows, columns)`."""
        columns = -(-self.seq_lengths[1] // self.BLOCK_SIZE[1])
        kinds: list[torch.Tensor] = []
        for counts, table in ((getattr(self, _INDEX[i]), getattr(self, _INDEX[i + 1])) for i in (0, 2)):
            used = torch.arange(table.shape[-1], device=table.device) < counts.unsqueeze(-1)
            # Unused slots write to a column behind the last, which is dropped.
            blocks = torch.zeros((*counts.shape, columns + 1), dtype=torch.int8, device=table.device)
            kinds.append(blocks.scatter_(-1, torch.where(used, table, columns).long(), 1)[..., :columns])
        return kinds


def _index_of(kinds: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return counts and tables of the blocks in each row, then in each column, in torch's order."""
    index: list[torch.Tensor] = []
    for blocks in (*kinds, *(blocks.transpose(-2, -1) for blocks in kinds)):
        order = blocks.argsort(dim=-1, descending=True, stable=True)
        index += [blocks.sum(dim=-1, dtype=torch.int32), order.to(torch.int32, memory_format=torch.contiguous_format)]
    return index


# `seq_lengths` and `BLOCK_SIZE`: the static part of the pytree.
_Sizes = tuple[tuple[int, int], tuple[int, int]]


def _assemble(sizes: _Sizes, tensors: Iterable[torch.Tensor]) -> _SpanBlockMask:
    *index, starts, ends = tensors
    mask_mod = span_mask_mod(starts, ends)
    if starts.shape[2] == 1:
        mask_mod = _of_any_query(mask_mod)
    block_mask = _SpanBlockMask(sizes[0], *index, BLOCK_SIZE=sizes[1], mask_mod=mask_mod)
    block_mask.tables = starts, ends
    return block_mask


def _flatten(block_mask: _SpanBlockMask) -> tuple[list[torch.Tensor], _Sizes]:
    index = [getattr(block_mask, name) for name in _INDEX]
    return [*index, *block_mask.tables], (block_mask.seq_lengths, block_mask.BLOCK_SIZE)


_pytree.register_pytree_node(_SpanBlockMask, _flatten, lambda tensors, sizes: _assemble(sizes, tensors))


def _build(b: BoundMask, block_size: tuple[int, int], device: torch.device) -> BlockMask:
    spans = b.spans
    rows = spans.shape[2]
    q_size, kv_size = block_size
    # The tables cover full blocks of rows, since a kernel may read rows beyond the last.
    # One row stands for all where that saves much: its table is another class of shapes, which costs a compilation.
    alike = not b.mask.depends_on_query and spans.runs > 1
    starts, ends = span_tables(b, 1 if alike else -(-rows // q_size) * q_size, device)
    # FlexAttention fills a short last block up with forbidden cells: the block is never full.
    blocks = classify(spans, q_size, kv_size, short_is_full=False)
    partial, full = blocks.partial, blocks.full
    # torch's CPU kernel requires tables as wide as there are key blocks.
    least = blocks.shape[3] if device.type == "cpu" else _LEAST_WIDTH
    kv = _tables(partial, full, spans.shape[:2], least, device)
    q = _tables(partial.transpose(), full.transpose(), spans.shape[:2], _LEAST_WIDTH, device)
    return _assemble(((rows, spans.kv_len), block_size), (*kv, *q, starts, ends))


def _tables(
    partial: BlockRuns, full: BlockRuns, lead: tuple[int, int], least: int, device: torch.device
) -> list[torch.Tensor]:
    """Return counts and columns of the partial blocks, then of the full blocks: int32 `(B, H, rows)`, `(…, width)`."""
    _, n_rows, n_columns = partial.shape
    counts = [runs.counts().astype(np.int32).reshape(*lead, n_rows) for runs in (partial, full)]
    wide = counts[0].size * n_columns <= MAX_WIDE_TABLE
    # torch 2.11 reads both index tables with the strides of the first, so both have one width.
    width = n_columns if wide else power_of_two(max(*(int(n.max(initial=0)) for n in counts), min(n_columns, least)))
    out: list[torch.Tensor] = []
    for runs, n in zip((partial, full), counts, strict=True):
        indptr, columns = runs.csr()
        # np.zeros allocates lazily: only the pages that columns are written to take memory.
        table = np.zeros((n.size, width), dtype=np.int32)
        sizes = np.diff(indptr)
        row = np.repeat(np.arange(n.size), sizes)
        table[row, np.arange(len(columns)) - np.repeat(indptr[:-1], sizes)] = columns
        if wide:
            # Row for row there are as many blocks left as slots, so that both fill up in the same order.
            left = np.ones(table.shape, dtype=np.bool_)
            left[row, columns] = False
            table[np.arange(width) >= n.reshape(-1, 1)] = np.nonzero(left)[1]
        out += [torch.from_numpy(n).to(device), torch.from_numpy(table.reshape(*lead, n_rows, width)).to(device)]
    return out


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n, and at least 1."""
    return 1 << max(0, n - 1).bit_length()
