"""Python source that makes a mask: for maskwork, FlexAttention, SDPA and Hugging Face. The tests run all of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ArgumentError, GridError
from ..masks import BoundMask, Mask, parse
from ._ask import Asked
from ._documents import documents
from ._formula import Formula
from ._text import full_text


def code(to: str, asked: Asked) -> str:
    """The source for library `to`; it leaves the mask in `mask`, and its last lines show its use."""
    if to not in _WRITERS:
        raise ArgumentError(f"code is written for {', '.join(_WRITERS)}; found {to[:40]!r}; take one of them")
    if asked.layers:
        raise ArgumentError("code is of a mask, not of its reach; found layers; leave them at 0")
    return _WRITERS[to](asked)


def _maskwork(asked: Asked) -> str:
    mask = parse(asked.expression)
    return f"""\
import maskwork as mw

mask = mw.parse({full_text(mask)!r})
bound = mask.bind({_grid(mask, asked)})
# out = mw.attention(q, k, v, bound)
"""


def _grid(mask: Mask, asked: Asked) -> str:
    """What makes `bind` give the grid that is shown: no more than its length, where that does."""
    grid = _bound(mask, asked).grid
    try:
        if mask.bind(grid.q_len).grid == grid:
            return f"{grid.q_len}"
    except GridError:  # with q_start left out, lengths must reach the end
        pass
    planes = "".join(f", {name}={size}" for name, size in (("batch", asked.batch), ("heads", asked.heads)) if size)
    return f"{grid.q_len}, {grid.kv_len}, q_start={grid.q_start}{planes}"


def _flex(asked: Asked) -> str:
    formula, tables, batch, heads = _formula(asked)
    return f"""\
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

{tables}
def mask_mod(b, h, q_idx, kv_idx):
    q, k = {_shifted("q_idx", asked.q_start)}, kv_idx
    return {formula}


mask = create_block_mask(mask_mod, {batch}, {heads}, {asked.q_len}, {asked.kv_len}, device="cpu")
# out = flex_attention(query, key, value, block_mask=mask)
"""


def _sdpa(asked: Asked) -> str:
    return f"""\
{_dense(asked)}
# out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
"""


def _hf(asked: Asked) -> str:
    packed = documents(parse(asked.expression), asked.kv_len) is not None
    restart = "# Positions count on through documents here; restart them where the model was trained so.\n" * packed
    return f"""\
{_dense(asked)}
# Transformers adds a 4-D mask to the scores: 0 where a key may be seen, the smallest number elsewhere.
attention_mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
{restart}position_ids = torch.arange({asked.q_start}, {asked.q_start + asked.q_len})[None]
# out = model(input_ids, attention_mask=attention_mask, position_ids=position_ids)
"""


def _dense(asked: Asked) -> str:
    """A bool tensor (B, H, Q, K), by the formula on index tensors that broadcast."""
    formula, tables, batch, heads = _formula(asked)
    planes = "".join(
        f"\n{name} = torch.arange({size}).view({shape})"
        for name, size, shape in (("b", batch, "-1, 1, 1, 1"), ("h", heads, "1, -1, 1, 1"))
        if size
    )
    return f"""\
import torch

q = torch.arange({asked.q_start}, {asked.q_start + asked.q_len}).view(1, 1, -1, 1)
k = torch.arange({asked.kv_len}).view(1, 1, 1, -1){planes}
{tables}mask = {formula}  # True: may attend
mask = mask.expand({batch or 1}, {heads or 1}, {asked.q_len}, {asked.kv_len})"""


def _formula(asked: Asked) -> tuple[str, str, int | None, int | None]:
    mask = parse(asked.expression)
    bound = _bound(mask, asked)
    formula = Formula(asked.q_len, asked.kv_len, asked.q_start)
    text = formula.of(mask)
    tables = "".join(f"{name} = torch.tensor({_listed(values)})\n" for name, values in formula.tables.items())
    batch, heads = (size if size > 1 else None for size in bound.shape[:2])
    return text, tables, batch, heads


def _bound(mask: Mask, asked: Asked) -> BoundMask:
    return mask.bind(asked.q_len, asked.kv_len, q_start=asked.q_start, batch=asked.batch, heads=asked.heads)


def _listed(values: np.ndarray) -> str:
    return repr(values.tolist())


def _shifted(name: str, by: int) -> str:
    return f"{name} + {by}" if by else name


_WRITERS: dict[str, Callable[[Asked], str]] = {"maskwork": _maskwork, "flex": _flex, "sdpa": _sdpa, "hf": _hf}
