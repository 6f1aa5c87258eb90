"""`Cost`: what attention under a mask computes, moves and keeps, counted from the exact geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import spans as sp
from ...errors import MaskError
from .._arrays import as_int

if TYPE_CHECKING:
    from .._bound import BoundMask

_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Forward attention of all layers, without the projections. Whole batch, every head.

    A multiply and an add count as two FLOPs, so a pair of a query and a key costs `4 * head_dim` of them per head:
    half for the scores, half for the weighted sum. The backward pass of a flash kernel costs 2.5 times the forward
    (Dao 2023, FlashAttention-2).
    """

    #: of the allowed pairs alone: what the mask asks for
    flops: int
    #: of every cell in the blocks that a block-sparse kernel computes
    block_flops: int
    #: of every pair, as under no mask
    dense_flops: int
    #: queries read and outputs written once, and a tile of keys and one of values for each touched block and query head
    bytes_moved: int
    #: keys and values of all positions, as a cache that never evicts holds them
    cache_bytes: int
    #: the most that a cache holds which drops each key after the last query that sees it
    cache_bytes_kept: int
    block_size: tuple[int, int]

    @property
    def block_waste(self) -> float:
        """The part of a block-sparse kernel's work that goes into forbidden pairs, 0.0 where there is no work."""
        return 1 - self.flops / self.block_flops if self.block_flops else 0.0

    @property
    def intensity(self) -> float:
        """FLOPs for each byte moved, of the block-sparse kernel."""
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
    bound: BoundMask,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: Any,
    block_size: int | tuple[int, int],
) -> Cost:
    """See `BoundMask.cost`."""
    for name, number in (("layers", layers), ("heads", heads), ("kv_heads", kv_heads), ("head_dim", head_dim)):
        as_int(number, f"cost({name})", minimum=1)
    if heads % kv_heads:
        raise MaskError(f"heads must be a multiple of kv_heads, got {heads} and {kv_heads}; pass the query heads first")
    batch, mask_heads, q_len, kv_len = bound.shape
    if mask_heads not in (1, heads):
        raise MaskError(f"the mask speaks of {mask_heads} heads, cost was asked for {heads}; pass heads={mask_heads}")
    word = str(getattr(dtype, "__name__", dtype)).removeprefix("torch.")
    if word not in _BYTES:
        raise MaskError(f"dtype must be one of {', '.join(_BYTES)}, got {dtype!r}; pass its name or torch's dtype")
    rows = bound.grid.batch
    # Where nothing differs along batch or heads, the geometry is held once and stands for all.
    repeat = (rows // batch) * (heads // mask_heads) * layers
    blocks = bound.blocks(block_size)
    q_size, kv_size = blocks.block_size
    tiles = blocks.touched.count * kv_size
    word_bytes, per_pair = _BYTES[word], 4 * head_dim
    per_key = 2 * layers * kv_heads * head_dim * word_bytes
    return Cost(
        flops=bound.allowed * per_pair * repeat,
        block_flops=blocks.cells * per_pair * repeat,
        dense_flops=q_len * kv_len * per_pair * rows * heads * layers,
        bytes_moved=(2 * q_len * rows * heads * layers + 2 * tiles * repeat) * head_dim * word_bytes,
        cache_bytes=rows * kv_len * per_key,
        cache_bytes_kept=_kept(bound) * (rows // batch) * per_key,
        block_size=(q_size, kv_size),
    )


def _kept(bound: BoundMask) -> int:
    """The most keys, summed over batch rows, that are needed at once when queries come one after the other.

    Key k arrives with query k, before the first query, or with an earlier query that looks ahead at it, and is needed
    until the last query that sees it through any head.
    """
    grid = bound.grid
    spans, size = bound.spans, grid.q_len + 1
    backwards = sp.Spans(spans.planes_starts[..., ::-1], spans.planes_ends[..., ::-1], spans.kv_len)
    last = sp.last_seen(spans).max(axis=1)
    first = grid.q_len - 1 - sp.last_seen(backwards).max(axis=1)
    own = np.maximum(np.arange(grid.kv_len) - grid.q_start, 0)
    most = 0
    for left, right in zip(first, last, strict=True):
        seen = right >= 0
        arrives, leaves = np.minimum(own, left)[seen], right[seen] + 1
        live = (np.bincount(arrives, minlength=size) - np.bincount(leaves, minlength=size)).cumsum()
        most += int(live.max(initial=0))
    return most


def _scaled(number: int, unit: str, base: int) -> str:
    """1536 with unit B and base 1024 is 1.50 KiB."""
    value, prefixes = float(number), ["", "k", "M", "G", "T", "P", "E"]
    step = 0
    while value >= base and step < len(prefixes) - 1:
        value, step = value / base, step + 1
    if not step:
        return f"{number} {unit}"
    return f"{value:.2f} {prefixes[step]}{'i' if base == 1024 else ''}{unit}".replace("kiB", "KiB")
