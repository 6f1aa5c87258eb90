"""The operators as text and JSON call them: their operands come from outside and are checked."""

from __future__ import annotations

from ._joined import And, Or, combine, exclusive
from ._mask import Mask, as_masks
from ._text.registry import operator


@operator("&")
def _join_and(*masks: Mask) -> Mask:
    return combine(And, as_masks(masks, "&"))


@operator("|")
def _join_or(*masks: Mask) -> Mask:
    return combine(Or, as_masks(masks, "|"))


@operator("^")
def _join_xor(*masks: Mask) -> Mask:
    return exclusive(as_masks(masks, "^"))


@operator("~")
def _invert(mask: Mask) -> Mask:
    return ~as_masks([mask], "~")[0]


@operator(".shift")
def _shift(mask: Mask, q: int = 0, k: int = 0) -> Mask:
    return as_masks([mask], ".shift")[0].shift(q, k)
