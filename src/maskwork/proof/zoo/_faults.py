"""Faults to plant in a `Transformer` of the caller's own, for its tests; `mutants` is the zoo that tests the audit."""

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

#: The arguments of a call of the model: positional ones and those by name.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _no_mask(model: Transformer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Attend in both directions unless the caller passes a mask."""
    return args, {"mask": full(), **kwargs}


def _documents_joined(model: Transformer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Take a mask and forget it."""
    return args, {**kwargs, "mask": None}


def _positions_not_restarted(model: Transformer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Let a document's positions depend on how many documents come before it."""
    if kwargs.get("position_ids") is None:
        return args, kwargs
    positions = kwargs["position_ids"]
    # Rotary scores depend on differences alone, so a constant offset would be harmless; a stretch is not.
    stretched = positions * (positions == 0).cumsum(-1)
    return args, {**kwargs, "position_ids": stretched.clamp(max=model.config.context - 1)}


def _cache_mask(model: Transformer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Count positions from 0 again at every cached call."""
    if kwargs.get("cache") is None:
        return args, kwargs
    return args, {**kwargs, "position_ids": torch.arange(args[0].shape[1], device=args[0].device).unsqueeze(0)}


def _off_by_one(model: Transformer, args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor:
    """Return at each position the output of the next: the classic slip in shifting targets."""
    return torch.cat([out[:, 1:], out[:, -1:]], dim=1)


_BEFORE: dict[Cause, Callable[[Any, tuple[Any, ...], dict[str, Any]], Arguments]] = {
    Cause.NO_MASK: _no_mask,
    Cause.DOCUMENTS_JOINED: _documents_joined,
    Cause.POSITIONS_NOT_RESTARTED: _positions_not_restarted,
    Cause.CACHE_MASK: _cache_mask,
}

#: A sentence about each fault, under the cause that the audit must give it.
FAULTS: MappingProxyType[Cause, str] = MappingProxyType(
    {cause: str(function.__doc__) for cause, function in {**_BEFORE, Cause.OFF_BY_ONE: _off_by_one}.items()}
)


def plant(cause: Cause | str, model: Transformer) -> Transformer:
    """Return a copy of `model` that has the fault.

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
    # Hooks, so that the copy keeps its class and its parameters' names.
    if cause in _BEFORE:
        faulty.register_forward_pre_hook(_BEFORE[cause], with_kwargs=True)
    else:
        faulty.register_forward_hook(_off_by_one)
    return faulty
