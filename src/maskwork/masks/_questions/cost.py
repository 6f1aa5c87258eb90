"""`Cost`: what attention under a mask computes, moves and caches, counted from the exact geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import spans as sp
from ...errors import MaskError
from ...spans import Blocks, Spans
from .._arrays import as_int
from .._grid import Grid

_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """The cost of forward attention in all layers, all batch rows and all heads, without the projections.

    A multiply and an add count as two FLOPs, so a pair of a query and a key costs `4 * head_dim` FLOPs per head: half
    for the scores, half for the weighted sum. The backward pass of a flash kernel costs 2.5 times the forward pass
    (Dao 2023, FlashAttention-2).

    Attributes:
        flops: FLOPs of the allowed pairs.
        block_flops: FLOPs of every cell in touched blocks: what a block-sparse kernel computes.
        dense_flops: FLOPs of every pair, as without a mask.
        bytes_moved: bytes of queries read and outputs written once, and of a tile of keys and a tile of values for
            each touched block and query head.
        cache_bytes: bytes of the keys and values of all positions, in a cache that never evicts.
        cache_bytes_kept: most bytes at any time in a cache that evicts each key after the last query that sees it.
        block_size: `(q, kv)` cells in a block.
    """

    flops: int
    block_flops: int
    dense_flops: int
    bytes_moved: int
    cache_bytes: int
    cache_bytes_kept: int
    block_size: tuple[int, int]

    @property
    def block_waste(self) -> float:
        """Share of a block-sparse kernel's FLOPs spent on forbidden pairs, 0.0 where there are no FLOPs."""
        return 1 - self.flops / self.block_flops if self.block_flops else 0.0

    @property
    def intensity(self) -> float:
        """FLOPs per byte moved of the block-sparse kernel."""
        return self.block_flops / self.bytes_moved if self.bytes_moved else 0.0

    def __str__(self) -> str:
        q, k = self.block_size
        part = f"{self.flops / self.dense_flops:.2%} of dense" if self.dense_flops else "no pairs"
        lines = (
            ("allowed pairs", f"{_scaled(self.flops, 'FLOP', 1000)} ({part})"),
            (f"in {q} x {k} blocks", f"{_scaled(self.block_flops, 'FLOP', 1000)} ({self.block_waste:.1%} waste)"),
            ("moved", f"{_scaled(self.bytes_moved, 'B', 1024)} ({self.intensity:.0f} FLOP per byte)"),
            (
                "KV cache",
                f"{_scaled(self.cache_bytes, 'B', 1024)}, {_scaled(self.cache_bytes_kept, 'B', 1024)} if evicted",
            ),
        )
        return "\n".join(f"{name:<20} {value}" for name, value in lines)


def cost(
    spans: Spans,
    grid: Grid,
    blocks: Blocks,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: Any,
) -> Cost:
    """Count the cost of attention from a mask's spans and blocks: `BoundMask.cost` documents the other parameters."""
    sizes = (("layers", layers), ("heads", heads), ("kv_heads", kv_heads), ("head_dim", head_dim))
    layers, heads, kv_heads, head_dim = (as_int(number, f"cost({name})", minimum=1) for name, number in sizes)
    if heads % kv_heads:
        raise MaskError(f"heads must be a multiple of kv_heads, got {heads} and {kv_heads}; pass the query heads first")
    batch, mask_heads, q_len = spans.shape
    if mask_heads not in (1, heads):
        raise MaskError(f"heads must match the mask's {mask_heads} heads, got {heads}; pass heads={mask_heads}")
    type_name = str(getattr(dtype, "__name__", dtype)).removeprefix("torch.")
    if type_name not in _BYTES:
        raise MaskError(f"dtype must be one of {', '.join(_BYTES)}, got {dtype!r}; pass its name or torch's dtype")
    # Where nothing differs along batch or heads, one batch row (or head) of the spans stands for all.
    repeat = (grid.batch // batch) * (heads // mask_heads) * layers
    # A touched block reads a full tile of keys, also where the block is short.
    _, kv_size = blocks.block_size
    tile_keys = blocks.touched.count * kv_size
    width, per_pair = _BYTES[type_name], 4 * head_dim
    # 2: a key and a value
    per_key = 2 * layers * kv_heads * head_dim * width
    return Cost(
        flops=spans.allowed * per_pair * repeat,
        block_flops=blocks.cells * per_pair * repeat,
        dense_flops=q_len * grid.kv_len * per_pair * grid.batch * heads * layers,
        bytes_moved=(2 * q_len * grid.batch * heads * layers + 2 * tile_keys * repeat) * head_dim * width,
        cache_bytes=grid.batch * grid.kv_len * per_key,
        cache_bytes_kept=_most_live_keys(spans, grid) * (grid.batch // max(batch, len(grid.starts))) * per_key,
        block_size=blocks.block_size,
    )


def _most_live_keys(spans: Spans, grid: Grid) -> int:
    """Return the most keys, summed over batch rows, that a cache needs at the same time as queries come in order.

    Key k arrives with query k, before the first query, or with an earlier query that sees key k, and is needed until
    the last query that sees key k in any head.
    """
    size = grid.q_len + 1
    # The first query that sees a key is the last one when the rows are reversed.
    backwards = sp.Spans(spans.planes_starts[..., ::-1], spans.planes_ends[..., ::-1], spans.kv_len)
    last = sp.last_seen(spans).max(axis=1)
    first = grid.q_len - 1 - sp.last_seen(backwards).max(axis=1)
    starts = grid.starts
    most = 0
    for b in range(max(len(first), len(starts))):
        left, right = (side[b if len(side) > 1 else 0] for side in (first, last))
        query_of_key = np.maximum(np.arange(grid.kv_len) - starts[b if len(starts) > 1 else 0], 0)
        visible = right >= 0
        arrives, leaves = np.minimum(query_of_key, left)[visible], right[visible] + 1
        live = (np.bincount(arrives, minlength=size) - np.bincount(leaves, minlength=size)).cumsum()
        most += int(live.max(initial=0))
    return most


def _scaled(number: int, unit: str, base: int) -> str:
    """Format a number with a prefix: 1536 with unit B and base 1024 is 1.50 KiB."""
    value, prefixes = float(number), ["", "k", "M", "G", "T", "P", "E"]
    step = 0
    while value >= base and step < len(prefixes) - 1:
        value, step = value / base, step + 1
    if not step:
        return f"{number} {unit}"
    return f"{value:.2f} {prefixes[step]}{'i' if base == 1024 else ''}{unit}".replace("kiB", "KiB")
