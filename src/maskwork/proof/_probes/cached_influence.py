"""One module while the model decodes with its cache: on which of its own inputs its outputs depend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .subject import Subject, main_output
from .tolerance import change

_ROWS = 16


def cached_influence(subject: Subject, name: str, run: Callable[[torch.Tensor], Any]) -> torch.Tensor | None:
    """Return bool `(L, L)`: output q of module `name` changes when its own input k does; None if that fails.

    The input is replaced where it enters the module, piece by piece, so that no other layer carries the change.
    """
    assert subject.module is not None
    module, length = subject.module.get_submodule(name), subject.length
    influence = torch.zeros(length, length, dtype=torch.bool)
    before = _outputs(module, lambda: run(subject.rows(_ROWS)), [])
    # Row r of a batch replaces key r, so one call tries as many keys as it has rows.
    for first in range(0, length, _ROWS):
        keys = list(range(first, min(first + _ROWS, length)))
        after = _outputs(module, lambda: run(subject.rows(_ROWS)), keys)
        if before is None or after is None or before.shape != after.shape or before.shape[1] != length:
            return None
        for r, k in enumerate(keys):
            influence[:, k] = (change(after[r], before[r]) > 0).cpu()
    return influence


def _outputs(module: torch.nn.Module, call: Callable[[], Any], keys: list[int]) -> torch.Tensor | None:
    """Return the module's outputs `(B, L, …)` over all pieces, with position `keys[r]` of row r's input replaced."""
    outputs: list[torch.Tensor] = []
    done = 0

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal done
        leaves = [*enumerate(args), *kwargs.items()]
        index = next(
            (i for i, v in leaves if isinstance(v, torch.Tensor) and v.is_floating_point() and v.ndim == 3), None
        )
        if index is None:
            return None
        data = (args[index] if isinstance(index, int) else kwargs[index]).clone()
        for r, k in enumerate(keys):
            # Reversed features, scaled and moved: no direction of the input stays as it was, whatever the layer.
            if done <= k < done + data.shape[1]:
                data[r, k - done] = data[r, k - done].flip(0) * 1.5 + 0.1
        done += data.shape[1]
        if isinstance(index, int):
            return (*args[:index], data, *args[index + 1 :]), kwargs
        return args, {**kwargs, index: data}

    def after(_: Any, args: Any, out: Any) -> None:
        value = main_output(out)
        if isinstance(value, torch.Tensor):
            outputs.append(value.detach().clone())

    handles = [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]
    try:
        with torch.no_grad():
            call()
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    finally:
        for handle in handles:
            handle.remove()
    # Pieces of other trailing shapes are no outputs along the positions.
    shapes = {value.shape[2:] for value in outputs}
    return torch.cat(outputs, dim=1) if len(shapes) == 1 else None
