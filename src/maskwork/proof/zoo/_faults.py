"""Faults to plant in a `Transformer` of the caller's own, for its tests; the zoo that tests the audit is `mutants`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch

from ...errors import ArgumentError
from ...masks import full
from ...models import Transformer
from .._verdicts.report import Cause

#: What a call of the model is given: its positional and its named arguments.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _no_mask(model: Transformer, args: tuple[Any, ...], named: dict[str, Any]) -> Arguments:
    """Attends in both directions unless told otherwise."""
    return args, {"mask": full(), **named}


def _documents_joined(model: Transformer, args: tuple[Any, ...], named: dict[str, Any]) -> Arguments:
    """Takes a mask and forgets it."""
    return args, {**named, "mask": None}


def _positions_not_restarted(model: Transformer, args: tuple[Any, ...], named: dict[str, Any]) -> Arguments:
    """Lets a document's positions depend on how many documents come before it."""
    if named.get("position_ids") is None:
        return args, named
    positions = named["position_ids"]
    # Rotary scores depend on differences alone, so a constant offset would be harmless; a stretch is not.
    stretched = positions * (positions == 0).cumsum(-1)
    return args, {**named, "position_ids": stretched.clamp(max=model.config.context - 1)}


def _cache_mask(model: Transformer, args: tuple[Any, ...], named: dict[str, Any]) -> Arguments:
    """Counts positions from 0 again at every cached call."""
    if named.get("cache") is None:
        return args, named
    return args, {**named, "position_ids": torch.arange(args[0].shape[1], device=args[0].device).unsqueeze(0)}


def _off_by_one(model: Transformer, args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor:
    """Returns at each position what belongs to the next: the classic slip in shifting targets."""
    return torch.cat([out[:, 1:], out[:, -1:]], dim=1)


_BEFORE: dict[Cause, Callable[[Any, tuple[Any, ...], dict[str, Any]], Arguments]] = {
    Cause.NO_MASK: _no_mask,
    Cause.DOCUMENTS_JOINED: _documents_joined,
    Cause.POSITIONS_NOT_RESTARTED: _positions_not_restarted,
    Cause.CACHE_MASK: _cache_mask,
}

#: What each fault does, under the cause that the audit must give it.
FAULTS: MappingProxyType[Cause, str] = MappingProxyType(
    {cause: str(function.__doc__) for cause, function in {**_BEFORE, Cause.OFF_BY_ONE: _off_by_one}.items()}
)


def plant(cause: Cause | str, model: Transformer) -> Transformer:
    """A copy of `model` that has the fault.

    >>> import torch, maskwork as mw
    >>> from maskwork.proof import plant
    >>> model = mw.models.Transformer(mw.models.ModelConfig(
    ...     vocab_size=20, layers=2, width=16, heads=2, kv_heads=1, hidden=16, context=16))
    >>> mw.audit(plant("no_mask", model), torch.arange(16), checks=["mask"]).findings[0].cause
    <Cause.NO_MASK: 'no_mask'>
    """
    if cause not in list(FAULTS):
        raise ArgumentError(f"faults are {', '.join(FAULTS)}, got {cause!r}; name one of them")
    faulty = copy.deepcopy(model)
    cause = Cause(cause)
    if cause in _BEFORE:
        faulty.register_forward_pre_hook(_BEFORE[cause], with_kwargs=True)
    else:
        faulty.register_forward_hook(_off_by_one)
    return faulty
