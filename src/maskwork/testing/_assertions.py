"""`assert_honours`: the audit as one line of a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from ..masks import Mask
from ..proof import audit


def assert_honours(
    model: Any,
    input_ids: torch.Tensor | Sequence[int],
    mask: Mask,
    *,
    checks: Sequence[str] = ("mask",),
    layers: int | Literal["auto"] = "auto",
    call: Callable[..., Any] | None = None,
) -> None:
    """Fail, with the audit's report as the message, when `model` leaks past `mask`; arguments as for `mw.audit`.

    Say through how many `layers` influence may spread where the model's config does not: through any number of them a
    window reaches everything before it, and only the future stays forbidden.

    >>> import torch, maskwork as mw
    >>> def running_sum(ids):          # position q depends on tokens 0..q
    ...     return ids.float().cumsum(1).unsqueeze(-1)
    >>> mw.testing.assert_honours(running_sum, torch.arange(8), mw.causal())
    """
    report = audit(model, input_ids, mask, checks=checks, layers=layers, call=call)
    if not report.ok:
        raise AssertionError(str(report))
