"""Every maker of masks by its name: the atoms that text and JSON know, and the operators. To join, add a line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from ...errors import MaskError
from .. import recipes
from .._atoms.blocks import block_causal, chunked
from .._atoms.custom import from_dense
from .._atoms.documents import as_masks, document, within
from .._atoms.ids import match, real
from .._atoms.interop import from_cu_seqlens, from_key_padding_mask
from .._atoms.neighborhood import neighborhood
from .._atoms.per import per_head, per_row
from .._atoms.positions import band, causal, empty, full, padding, prefix, sinks, sliding_window
from .._atoms.sparse import dilated, global_tokens, random_blocks
from .._atoms.tree import tree
from .._mask import And, Mask, Or, combine, exclusive
from .._shift import shifted

_ATOMS: tuple[Callable[..., Mask], ...] = (
    full, empty, causal, sliding_window, band, sinks, prefix, padding, real,
    document, within, match, chunked, block_causal, per_head, per_row,
    from_cu_seqlens, from_key_padding_mask,
    global_tokens, dilated, random_blocks, tree, neighborhood, from_dense,
)  # fmt: skip

_RECIPES = frozenset(recipes.__all__)

#: A maker takes what `Written` holds, lists for arrays too, and raises `MaskError` for anything else.
MAKERS: Mapping[str, Callable[..., Mask]] = MappingProxyType({maker.__name__: maker for maker in _ATOMS})


def _join(joined: Callable[[Sequence[Mask]], Mask], sign: str, *masks: Mask) -> Mask:
    return joined(as_masks(masks, sign))


def _invert(mask: Mask) -> Mask:
    return ~as_masks([mask], "~")[0]


def _shift(mask: Mask, q: int = 0, k: int = 0) -> Mask:
    return shifted(as_masks([mask], ".shift")[0], q, k)


OPERATORS: Mapping[str, Callable[..., Mask]] = MappingProxyType(
    {
        "&": partial(_join, partial(combine, And), "&"),
        "|": partial(_join, partial(combine, Or), "|"),
        "^": partial(_join, exclusive, "^"),
        "~": _invert,
        ".shift": _shift,
    }
)


def make(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> Mask:
    """The mask that `Written(name, args, named)` describes; `MaskError` where there is none."""
    maker = MAKERS.get(name) or OPERATORS.get(name)
    if maker is None:
        # imported here: only a mistake needs it
        from difflib import get_close_matches

        near = get_close_matches(name, MAKERS, n=1)
        words = {"and": "write &", "or": "write |", "not": "write ~", "xor": "write ^", "mw": "leave out 'mw.'"}
        if name in words:
            raise MaskError(f"a mask is made of known atoms, found {name!r}; {words[name]}")
        if name == "recipes" or name in _RECIPES:
            raise MaskError(f"a mask is made of known atoms, found {name!r}; write out the recipe, as its repr does")
        mend = f"did you mean {near[0]!r}?" if near else f"the atoms are {', '.join(MAKERS)}"
        raise MaskError(f"a mask is made of known atoms, found {name[:40]!r}; {mend}")
    try:
        inspect.signature(maker).bind(*args, **named)
    except TypeError as error:
        wanted = ", ".join(str(p).split(":")[0] for p in inspect.signature(maker).parameters.values())
        raise MaskError(f"{name} takes ({wanted}): {error}") from None
    return maker(*args, **named)
