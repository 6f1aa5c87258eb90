"""The arithmetic of cross-entropy on a few rows of logits at a time, in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch


@dataclass(frozen=True)
class RowLoss:
    """Cross-entropy of one row of logits x with target t, V logits in all:

    `lse(x) - (1 - label_smoothing) * x[t] - label_smoothing * mean(x) + z_loss * lse(x) ** 2`

    The second term is Szegedy et al. 2015 (label smoothing), the last one PaLM's (Chowdhery et al. 2022, section 5).
    """

    label_smoothing: float
    z_loss: float

    def in_place(self, x: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """(n,) losses of the rows of x (n, V); with `scale` (n,), x becomes scale times each loss's gradient."""
        losses = x.new_empty(len(x))
        for part in chunks(len(x), rows_at_a_time(x)):
            losses[part] = self._block(x[part], targets[part], None if scale is None else scale[part])
        return losses

    def _block(self, x: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        column, smoothing = targets[:, None], self.label_smoothing
        wanted = x.gather(1, column)[:, 0]
        if smoothing:
            wanted = (1 - smoothing) * wanted + smoothing * x.mean(-1)
        top = x.amax(-1)
        p = torch.softmax(x, -1)
        # The largest p is exp(0) over the sum of exp(x - top): so much less work than logsumexp beside the softmax.
        log_total = -p.amax(-1).log()
        losses = log_total + (top - wanted)
        lse = log_total + top
        if self.z_loss:
            losses += self.z_loss * lse.square()
        if scale is not None:
            torch.mul(p, (scale * (1 + 2 * self.z_loss * lse))[:, None], out=x)
            if smoothing:
                x.sub_((scale * (smoothing / x.shape[1]))[:, None])
            x.scatter_add_(1, column, (scale * (smoothing - 1))[:, None])
        return losses


def rows_at_a_time(logits: torch.Tensor) -> int:
    """Rows of logits whose softmax is worked on together: few MB on a CPU, which stay in its cache."""
    numbers = 1 << (20 if logits.device.type == "cpu" else 26)
    return max(1, numbers // logits.shape[-1])


def chunks(n: int, size: int) -> Iterator[slice]:
    """`range(n)` in as few parts as sizes up to `size` allow, as even as can be."""
    parts = -(-n // size)
    edges = [n * part // parts for part in range(parts + 1)] if parts else []
    return (slice(start, end) for start, end in pairwise(edges))
