"""The audit as one line of a test; the failure message is the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from ..masks import Mask
from ..proof import audit

#: A mask, one for each layer, the three of an encoder-decoder model, or None = causal.
ExpectedMasks = Mask | Sequence[Mask] | Mapping[str, Mask] | None


def assert_honours(
    model: Any,
    input_ids: torch.Tensor | Sequence[int],
    mask: ExpectedMasks = None,
    *,
    checks: Sequence[str] = ("mask",),
    layers: int | Literal["auto"] = "auto",
    call: Callable[..., Any] | None = None,
) -> None:
    """Fail, with the audit's report as the message, when `model` leaks past `mask`; arguments as for `mw.audit`.

    A function whose layers cannot be counted needs `layers=` for a mask that spreads with every layer, as windows do.

    >>> import torch, maskwork as mw
    >>> def running_sum(ids):          # position q depends on tokens 0..q
    ...     return ids.float().cumsum(1).unsqueeze(-1)
    >>> mw.testing.assert_honours(running_sum, torch.arange(8), mw.causal())
    """
    __tracebackhide__ = True  # pytest shows the caller's line, not this one
    report = audit(model, input_ids, mask, checks=checks, layers=layers, call=call)
    if not report.ok:
        raise AssertionError(str(report))


def assert_cache_exact(model: Any, input_ids: torch.Tensor | Sequence[int], mask: ExpectedMasks = None) -> None:
    """Fail when decoding with the cache, stepwise, in chunks or from unequal prompts, differs from one pass.

    A model without a cache fails too: a check that cannot run proves nothing.

    >>> import torch, maskwork as mw
    >>> config = mw.models.ModelConfig(vocab_size=9, layers=1, width=8, heads=2, kv_heads=1, hidden=8, context=16)
    >>> mw.testing.assert_cache_exact(mw.models.Transformer(config), torch.arange(9))
    """
    __tracebackhide__ = True
    _assert_check(model, input_ids, mask, "cache")


def assert_padding_invariant(model: Any, input_ids: torch.Tensor | Sequence[int], mask: ExpectedMasks = None) -> None:
    """Fail when padding, on either side and whatever it holds, changes the outputs at real positions.

    >>> import torch, maskwork as mw
    >>> config = mw.models.ModelConfig(vocab_size=9, layers=1, width=8, heads=2, kv_heads=1, hidden=8, context=16)
    >>> mw.testing.assert_padding_invariant(mw.models.Transformer(config), torch.arange(9))
    """
    __tracebackhide__ = True
    _assert_check(model, input_ids, mask, "padding")


def assert_packing_isolated(model: Any, input_ids: torch.Tensor | Sequence[int], mask: ExpectedMasks = None) -> None:
    """Fail when documents packed into one row see each other, or differ from themselves alone.

    >>> import torch, maskwork as mw
    >>> config = mw.models.ModelConfig(vocab_size=9, layers=1, width=8, heads=2, kv_heads=1, hidden=8, context=16)
    >>> mw.testing.assert_packing_isolated(mw.models.Transformer(config), torch.arange(9))
    """
    __tracebackhide__ = True
    _assert_check(model, input_ids, mask, "packing")


def _assert_check(model: Any, input_ids: torch.Tensor | Sequence[int], mask: ExpectedMasks, check: str) -> None:
    __tracebackhide__ = True
    report = audit(model, input_ids, mask, checks=[check])
    if not report.ok:
        raise AssertionError(str(report))
