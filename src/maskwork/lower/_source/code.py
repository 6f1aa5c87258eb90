"""Python source that makes a mask: for maskwork, FlexAttention, SDPA and Hugging Face. The tests run all source."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import ArgumentError, GridError
from ...masks import BoundMask
from ...masks._questions.documents import documents
from .formula import Formula, shifted


def to_code(b: BoundMask, library: str = "maskwork") -> str:
    """Return Python source that makes this mask on this grid for `library`.

    Args:
        b: the bound mask.
        library: "maskwork", "flex" (FlexAttention), "sdpa" or "hf" (Hugging Face).

    Returns:
        source that leaves the mask in a variable; its last lines show its use.

    Raises:
        ArgumentError: the library is none of these.
        MaskError: code for maskwork of a mask that no text can carry (`custom`).
        CannotExpress: the mask needs tables that are too long to be read.

    >>> import maskwork as mw
    >>> print(mw.lower.to_code(mw.causal().bind(8), "sdpa"))
    import torch
    <BLANKLINE>
    q = torch.arange(0, 8).view(1, 1, -1, 1)
    k = torch.arange(8).view(1, 1, 1, -1)
    mask = (k <= q)  # True: may attend
    mask = mask.expand(1, 1, 8, 8)
    # out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    <BLANKLINE>
    """
    if library not in _WRITERS:
        raise ArgumentError(f"library must be one of {', '.join(_WRITERS)}, got {library!r:.42}")
    return _WRITERS[library](b)


def _maskwork(b: BoundMask) -> str:
    return f"""\
import maskwork as mw

mask = mw.parse({b.mask.to_text(arrays="full")!r})
bound = mask.bind({_bind_arguments(b)})
# out = mw.attention(q, k, v, bound)
"""


def _bind_arguments(b: BoundMask) -> str:
    """Return the fewest arguments with which `bind` makes the grid of `b`."""
    mask, grid = b.mask, b.grid
    # Binding is free: no spans are computed.
    try:
        if mask.bind(grid.q_len).grid == grid:
            return f"{grid.q_len}"
    except GridError:  # without q_start, lengths must cover the sequence exactly
        pass
    sizes = (("batch", grid.batch, mask.batch), ("heads", grid.heads, mask.heads))
    planes = "".join(f", {name}={size}" for name, size, inferred in sizes if size != inferred)
    return f"{grid.q_len}, {grid.kv_len}, q_start={grid.q_start}{planes}"


def _flex(b: BoundMask) -> str:
    formula, tables, batch, heads = _formula(b)
    ragged = isinstance(b.grid.q_start, tuple)
    return f"""\
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

{tables}
def mask_mod(b, h, q_idx, kv_idx):
    q, k = {"q_idx + q_start[b]" if ragged else shifted("q_idx", b.grid.q_first)}, kv_idx
    return {formula}


mask = create_block_mask(mask_mod, {batch}, {heads}, {b.grid.q_len}, {b.grid.kv_len}, device="cpu")
# out = flex_attention(query, key, value, block_mask=mask)
"""


def _sdpa(b: BoundMask) -> str:
    return f"""\
{_dense(b)}
# out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
"""


def _hf(b: BoundMask) -> str:
    packed = documents(b.mask, b.grid.kv_len) is not None
    restart = "# Positions count on through documents here; restart them where the model was trained so.\n" * packed
    return f"""\
{_dense(b)}
# Transformers adds a 4-D mask to the scores: 0 where a key may be seen, the smallest number elsewhere.
attention_mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
{restart}position_ids = {_positions(b)}{"" if isinstance(b.grid.q_start, tuple) else "[None]"}
# out = model(input_ids, attention_mask=attention_mask, position_ids=position_ids)
"""


def _dense(b: BoundMask) -> str:
    """Return source for a bool tensor (B, H, Q, K): the formula on index tensors that broadcast."""
    # b and h exist in the source only where the mask differs along them.
    formula, tables, batch, heads = _formula(b)
    planes = "".join(
        f"\n{name} = torch.arange({size}).view({shape})"
        for name, size, shape in (("b", batch, "-1, 1, 1, 1"), ("h", heads, "1, -1, 1, 1"))
        if size
    )
    queries = "" if isinstance(b.grid.q_start, tuple) else f"q = {_positions(b)}.view(1, 1, -1, 1)\n"
    # Starts of the batch rows come with the tables, after `b`.
    ragged = "" if queries else f"q = q_start[b] + torch.arange({b.grid.q_len}).view(1, 1, -1, 1)\n"
    return f"""\
import torch

{queries}k = torch.arange({b.grid.kv_len}).view(1, 1, 1, -1){planes}
{tables}{ragged}mask = {formula}  # True: may attend
mask = mask.expand({batch or 1}, {heads or 1}, {b.grid.q_len}, {b.grid.kv_len})"""


def _formula(b: BoundMask) -> tuple[str, str, int | None, int | None]:
    """Return the formula, the source of its tables, and batch and heads where the mask differs along them."""
    formula = Formula(b.grid.q_len, b.grid.kv_len, b.grid.q_start)
    text = formula.write(b.mask)
    tables = "".join(f"{name} = torch.tensor({values.tolist()!r})\n" for name, values in formula.tables.items())
    batch, heads = (size if size > 1 else None for size in b.shape[:2])
    if isinstance(b.grid.q_start, tuple):
        return text, f"q_start = torch.tensor({list(b.grid.q_start)!r})\n{tables}", b.grid.batch, heads
    return text, tables, batch, heads


def _positions(b: BoundMask) -> str:
    """Return the source of the query positions: `(Q,)`, or `(B, Q)` where batch rows start at their own."""
    start, q_len = b.grid.q_start, b.grid.q_len
    if isinstance(start, tuple):
        return f"torch.tensor({list(start)!r})[:, None] + torch.arange({q_len})"
    return f"torch.arange({start}, {start + q_len})"


_WRITERS: dict[str, Callable[[BoundMask], str]] = {"maskwork": _maskwork, "flex": _flex, "sdpa": _sdpa, "hf": _hf}

#: The libraries that `to_code` writes for.
CODE_LIBRARIES = tuple(_WRITERS)
