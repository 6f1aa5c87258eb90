"""Learned sinks (GPT-OSS, OpenAI 2025): one logit for each query head joins the softmax's denominator, without a value."""

from __future__ import annotations

import torch


def add_sinks(out: torch.Tensor, lse: torch.Tensor, sinks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and log-sum-exp with sinks, from those without; all gradients follow from these two lines:

        out = out * exp(lse) / (exp(lse) + exp(sink)) = out * sigmoid(lse - sink)
        lse = log(exp(lse) + exp(sink))

    Args:
        out: `(B, Hq, Q, Dv)`.
        lse: `(B, Hq, Q)`, -inf for a row that sees nothing, whose log-sum-exp then is the sink.
        sinks: logits `(Hq,)`; -inf = no sink for that head.
    """
    sink = sinks.to(lse.dtype).view(1, -1, 1)
    # An infinite difference has no derivative: rows that see nothing are filled by name.
    empty = lse == float("-inf")
    finite = lse.masked_fill(empty, 0.0)
    share = torch.sigmoid(finite - sink).masked_fill(empty, 0.0)
    return (out * share.unsqueeze(-1)).to(out.dtype), torch.where(empty, sink, torch.logaddexp(finite, sink))
