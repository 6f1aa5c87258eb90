"""`assert_honours`: the audit as one line of a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..masks import Mask
from ..proof import audit


def assert_honours(
    model: Any,
    input_ids: torch.Tensor | Sequence[int],
    mask: Mask,
    *,
    checks: Sequence[str] = ("mask",),
    call: Callable[..., Any] | None = None,
) -> None:
    """Fail, with the audit's report as the message, when `model` leaks past `mask`; arguments as for `mw.audit`.

    >>> import torch, maskwork as mw
    >>> def running_sum(ids):          # position q depends on tokens 0..q
    ...     return ids.float().cumsum(1).unsqueeze(-1)
    >>> mw.testing.assert_honours(running_sum, torch.arange(8), mw.causal())
    """
    report = audit(model, input_ids, mask, checks=checks, call=call)
    if not report.ok:
        raise AssertionError(str(report))
