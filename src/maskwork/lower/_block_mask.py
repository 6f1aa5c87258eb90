"""FlexAttention's `BlockMask`, built from the spans: a new mask is new data for the same compiled kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.utils import _pytree

from .._shared.numbers import integer
from ..errors import CannotExpress
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

# A narrower index table would save little, and each width costs a compilation.
_LEAST_WIDTH = 64


def to_block_mask(b: BoundMask, block_size: int = 128, device: torch.device | str = "cpu") -> BlockMask:
    """Build a `torch.nn.attention.flex_attention.BlockMask` that allows exactly the cells of `b`.

    Args:
        b: a mask on `(B, H, Q, K)`; the lengths need not be multiples of the block size.
        block_size: queries and keys per block. CUDA kernels need a multiple of 128 for their default tiles.
        device: the device of its tensors.

    Returns:
        A `BlockMask` of shape `b.shape` (B and H are 1 where nothing differs along them, which FlexAttention
        broadcasts). Query index 0 of its `mask_mod` is the grid's first query. The result is a pytree; `.to(device)`
        also moves the tables that its `mask_mod` reads, which torch's own `BlockMask` does not.

    Raises:
        CannotExpress: rows have so many runs that the tables would exceed `MAX_TABLE`.

    FlexAttention (Dong et al. 2024) skips empty blocks, runs full blocks without a mask and calls `mask_mod` for each
    cell of partial blocks. `create_block_mask` classifies blocks by evaluating all Q x K cells; `to_block_mask` derives
    them from the spans, exactly. Its `mask_mod` looks the cell up in tables of starts and ends by bisection. Run counts
    and index widths are padded to powers of two, so that masks of similar size differ only in data, and exchanging
    them compiles nothing.

    >>> import maskwork as mw
    >>> block_mask = mw.lower.to_block_mask(mw.causal().bind(512))
    >>> block_mask.kv_num_blocks.tolist(), block_mask.full_kv_num_blocks.tolist()
    ([[[1, 1, 1, 1]]], [[[0, 1, 2, 3]]])
    """
    device = torch.device(device)
    block_size = integer(block_size, "block_size", minimum=1, maximum=LARGEST_BLOCK)
    return lowered(b, ("block mask", block_size, device), lambda: _build(b, block_size, device))


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
    """Return starts and ends for `span_mask_mod`, of `rows` rows; rows beyond the grid are empty."""
    spans = b.spans
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


class _SpanBlockMask(BlockMask):
    """A `BlockMask` with the tables of its `mask_mod`, so that they move together."""

    tables: tuple[torch.Tensor, torch.Tensor]

    def to(self, device: torch.device | str) -> BlockMask:
        return _pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), self)


# `seq_lengths` and `BLOCK_SIZE`: the static part of the pytree.
_Sizes = tuple[tuple[int, int], tuple[int, int]]


def _assemble(sizes: _Sizes, tensors: Iterable[torch.Tensor]) -> _SpanBlockMask:
    *index, starts, ends = tensors
    block_mask = _SpanBlockMask(sizes[0], *index, BLOCK_SIZE=sizes[1], mask_mod=span_mask_mod(starts, ends))
    block_mask.tables = starts, ends
    return block_mask


def _flatten(block_mask: _SpanBlockMask) -> tuple[list[torch.Tensor], _Sizes]:
    index = [getattr(block_mask, name) for name in _INDEX]
    return [*index, *block_mask.tables], (block_mask.seq_lengths, block_mask.BLOCK_SIZE)


_pytree.register_pytree_node(_SpanBlockMask, _flatten, lambda tensors, sizes: _assemble(sizes, tensors))


def _build(b: BoundMask, block_size: int, device: torch.device) -> BlockMask:
    spans = b.spans
    rows = spans.shape[2]
    # The tables cover full blocks of rows, since a kernel may read rows beyond the last.
    starts, ends = span_tables(b, -(-rows // block_size) * block_size, device)
    # FlexAttention fills a short last block up with forbidden cells: the block is never full.
    blocks = classify(spans, block_size, block_size, short_is_full=False)
    partial, full = blocks.partial, blocks.full
    # torch's CPU kernel requires tables as wide as there are key blocks.
    least = blocks.shape[3] if device.type == "cpu" else _LEAST_WIDTH
    kv = _tables(partial, full, spans.shape[:2], least, device)
    q = _tables(partial.transpose(), full.transpose(), spans.shape[:2], _LEAST_WIDTH, device)
    return _assemble(((rows, spans.kv_len), (block_size, block_size)), (*kv, *q, starts, ends))


def _tables(
    partial: BlockRuns, full: BlockRuns, lead: tuple[int, int], least: int, device: torch.device
) -> list[torch.Tensor]:
    """Return counts and columns of the partial blocks, then of the full blocks: int32 `(B, H, rows)`, `(…, width)`."""
    _, n_rows, n_columns = partial.shape
    counts = [runs.counts().astype(np.int32).reshape(*lead, n_rows) for runs in (partial, full)]
    # torch 2.11 reads both index tables with the strides of the first, so both have one width.
    width = power_of_two(max(*(int(n.max(initial=0)) for n in counts), min(n_columns, least)))
    out: list[torch.Tensor] = []
    for runs, n in zip((partial, full), counts, strict=True):
        indptr, columns = runs.csr()
        # np.zeros allocates lazily: only the pages that columns are written to take memory.
        table = np.zeros((n.size, width), dtype=np.int32)
        sizes = np.diff(indptr)
        slot = np.arange(len(columns)) - np.repeat(indptr[:-1], sizes)
        table[np.repeat(np.arange(n.size), sizes), slot] = columns
        out += [torch.from_numpy(n).to(device), torch.from_numpy(table.reshape(*lead, n_rows, width)).to(device)]
    return out


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n, and at least 1."""
    return 1 << max(0, n - 1).bit_length()
