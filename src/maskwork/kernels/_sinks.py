"""Learned sinks: a logit that joins each row's softmax without a value, applied after attention without them."""

from __future__ import annotations

import torch


def add_sinks(out: torch.Tensor, lse: torch.Tensor, sinks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and log-sum-exp with sinks, from both without: `(B, H, Q, Dv)` and `(B, H, Q)`.

    The sink's share of a row is `exp(sink) / (exp(lse) + exp(sink))`, and the keys share the rest:

        out' = out * sigmoid(lse - sink)        lse' = log(exp(lse) + exp(sink))

    A row without keys has lse = -inf: its output stays 0, and its log-sum-exp is the sink's. A sink of -inf is none.

    >>> out, lse = add_sinks(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1), torch.zeros(1))
    >>> out.flatten().tolist(), round(lse.item(), 4)
    ([0.5, 0.5], 0.6931)
    """
    logits = sinks.to(lse.dtype).unsqueeze(-1)
    # Filled by name: of two numbers of -inf, neither the difference nor its derivative exists.
    empty = lse == float("-inf")
    finite = lse.masked_fill(empty, 0.0)
    share = torch.sigmoid(finite - logits).masked_fill(empty, 0.0).unsqueeze(-1)
    return (out.to(share.dtype) * share).to(out.dtype), torch.where(empty, logits, torch.logaddexp(finite, logits))
