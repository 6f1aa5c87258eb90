"""`masked_cross_entropy`: the loss of each scored position and nothing of the others; its arithmetic, by few rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch

from ..lower import outside_graph
from ._scored import (
    LossOutput,
    Reduction,
    acting_transforms,
    check_floats,
    check_options,
    check_targets,
    coefficients,
    find_scored,
    loss_dtype,
    output,
    refuse_second_order,
    scatter,
)


@outside_graph
def masked_cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: Reduction = "token_mean",
    denominator: float | torch.Tensor | None = None,
    on_empty: Literal["zero", "raise"] = "zero",
) -> LossOutput:
    """Compute the cross-entropy of the scored positions: those whose target is not -100 and whose weight is not 0.

    Only their logits are read. Logits of other positions, NaN and inf included, change no bit of the loss or of any
    gradient, and their own gradient is exactly 0. The loss is computed in float32 whatever the logits' dtype (in
    float64 for float64 logits), also under autocast. Weights that require a gradient get one as well. A gradient of the
    gradient is refused.

    Forward-mode derivatives and the transforms of `torch.func` (grad, jvp, vmap over logits) work, with all scored rows
    of the softmax in memory at once; there a gradient of the gradient works too. `vmap` over targets or weights is
    refused: which positions are scored would differ between its samples.

    Under `torch.compile` the call is one graph break: which positions are scored, and what is refused, depends on data.

    Args:
        logits: (..., V) floats; for "sequence_mean" (..., L, V).
        targets: (...) integers in [0, V), or -100 where nothing is scored; already shifted.
        weights: (...) finite numbers >= 0; None counts every target once.
        label_smoothing: in [0, 1], the share of each target that is spread over all V classes.
        z_loss: PaLM's coefficient of the squared log-sum-exp, added to each position's loss; PaLM took 1e-4.
        reduction: "token_mean" divides the weighted sum by the sum of weights; "sequence_mean" averages each
            sequence's weighted mean over the sequences that score anything; "sum" divides by nothing; "none" gives
            each position's weighted loss in the targets' shape, 0 where nothing is scored.
        denominator: divides instead of the sum of weights (or of the number of sequences that score): with the number
            of the whole step, from `count_targets`, the gradients of a step's parts add up to those of the whole.
        on_empty: with nothing scored, "zero" gives a loss of 0 with gradient 0, "raise" an `ArgumentError`.

    Raises:
        ArgumentError: shapes don't fit, an option breaks its rule, targets are no integers or lie outside [0, V), a
            weight is negative or not finite.

    See also:
        linear_masked_cross_entropy: the same without ever holding the logits, for a head that is a matrix.

    >>> logits = torch.tensor([[2.0, 0.0], [float("nan"), 0.0]])
    >>> out = masked_cross_entropy(logits, torch.tensor([0, -100]))
    >>> round(out.loss.item(), 4), out.n_targets
    (0.1269, 1)
    """
    divisor = check_options(reduction, denominator, on_empty, label_smoothing, z_loss)
    check_floats("logits", logits, "(..., V)")
    check_targets("logits", logits, targets, weights, reduction)
    acting = acting_transforms((logits, weights), targets)
    vocabulary, dtype = logits.shape[-1], loss_dtype(logits)
    scored = find_scored(targets, weights, vocabulary=vocabulary, dtype=dtype, on_empty=on_empty)
    flat, row_loss = logits.reshape(-1, vocabulary), RowLoss(label_smoothing, z_loss)
    if acting:
        losses = row_loss.transformable(flat.index_select(0, scored.rows).to(dtype), scored.targets)
    else:
        losses = _Losses.apply(flat, scored.rows, scored.targets, row_loss)
    if reduction == "none":
        loss = scatter(losses, scored)
    else:
        loss = (losses * coefficients(scored, reduction, divisor)).sum()
    return output(loss, losses, scored)


class _Losses(torch.autograd.Function):
    """The function from (N, V) logits to the (n,) losses of the scored rows.

    A few rows at a time are copied and overwritten: no second array as large as the logits is made but their gradient.
    The softmax is computed again in the backward pass, which is cheaper than storing it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        rows: torch.Tensor,
        targets: torch.Tensor,
        row_loss: RowLoss,
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, rows, targets)
        ctx.row_loss = row_loss
        dtype = loss_dtype(logits)
        losses = torch.empty(len(rows), dtype=dtype, device=logits.device)
        for part in chunks(len(rows), rows_at_a_time(logits)):
            x = logits.index_select(0, rows[part]).to(dtype)
            losses[part] = row_loss.in_place(x, targets[part])
        return losses

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        refuse_second_order()
        (grad_losses,) = grad_outputs
        logits, rows, targets = ctx.saved_tensors
        grad = torch.zeros_like(logits)
        for part in chunks(len(rows), rows_at_a_time(logits)):
            x = logits.index_select(0, rows[part]).to(grad_losses.dtype)
            ctx.row_loss.in_place(x, targets[part], grad_losses[part])  # x is now the gradient of the logits
            grad.index_copy_(0, rows[part], x.to(grad.dtype))
        return grad, None, None, None


@dataclass(frozen=True)
class RowLoss:
    """The cross-entropy of one row of logits x with target t, V logits in all:

    `lse(x) - (1 - label_smoothing) * x[t] - label_smoothing * mean(x) + z_loss * lse(x) ** 2`

    The second term is Szegedy et al. 2015 (label smoothing), the last one PaLM's (Chowdhery et al. 2022, section 5).
    """

    label_smoothing: float
    z_loss: float

    def in_place(self, x: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        """Return the (n,) losses of the rows of x (n, V); with `scale` (n,), x becomes scale times their gradients."""
        losses = x.new_empty(len(x))
        for part in chunks(len(x), rows_at_a_time(x)):
            losses[part] = self._block(x[part], targets[part], None if scale is None else scale[part])
        return losses

    def transformable(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the (n,) losses of x (n, V) by operators that every transform of torch has a rule for."""
        lse = torch.logsumexp(x, -1)
        losses = lse - (1 - self.label_smoothing) * x.gather(1, targets[:, None])[:, 0]
        if self.label_smoothing:
            losses = losses - self.label_smoothing * x.mean(-1)
        return losses + self.z_loss * lse.square() if self.z_loss else losses

    def _block(self, x: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        column, smoothing = targets[:, None], self.label_smoothing
        target_logit = x.gather(1, column)[:, 0]
        if smoothing:
            target_logit = (1 - smoothing) * target_logit + smoothing * x.mean(-1)
        top = x.amax(-1)
        p = torch.softmax(x, -1)
        # The largest p is exp(0) over the sum of exp(x - top): so much less work than logsumexp beside the softmax.
        log_total = -p.amax(-1).log()
        losses = log_total + (top - target_logit)
        lse = log_total + top
        if self.z_loss:
            losses += self.z_loss * lse.square()
        if scale is not None:
            # d loss / d x[v] = p[v] * (1 + 2 z lse) - smoothing / V - (1 - smoothing) * [v == t], written over x
            torch.mul(p, (scale * (1 + 2 * self.z_loss * lse))[:, None], out=x)
            if smoothing:
                x.sub_((scale * (smoothing / x.shape[1]))[:, None])
            x.scatter_add_(1, column, (scale * (smoothing - 1))[:, None])
        return losses


def rows_at_a_time(logits: torch.Tensor) -> int:
    """Choose how many rows of logits go through the softmax together: a few MB on a CPU, which stay in its cache."""
    numbers = 1 << (20 if logits.device.type == "cpu" else 26)
    return max(1, numbers // logits.shape[-1])


def chunks(n: int, size: int) -> Iterator[slice]:
    """Cut `range(n)` into as few parts of at most `size` as possible, as even as can be: 10 by 4 is 3, 3 and 4."""
    parts = -(-n // size)
    edges = [n * part // parts for part in range(parts + 1)] if parts else []
    return (slice(start, end) for start, end in pairwise(edges))
