"""`masked_cross_entropy`: what each scored position costs, and exactly nothing from the others."""

from __future__ import annotations

from typing import Literal

import torch

from ..lower import outside_graph
from ._checks import check_floats, check_options, check_targets, find_scored, loss_dtype, refuse_second_order
from ._output import LossOutput, Reduction, coefficients, output, spread
from ._rows import RowLoss, chunks, rows_at_a_time


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
    """Cross-entropy of the scored positions: those whose target is not -100 and whose weight is not 0.

    Only they are read. What stands elsewhere, NaN and inf included, changes no bit of the loss or of any gradient, and
    its own gradient is exactly 0. Computed in float32 whatever the logits' dtype (in float64 for float64 logits), also
    under autocast. Weights that require it get a gradient as well. A gradient of the gradient is refused.

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
        denominator: divides instead of the sum of weights (or of the number of sequences that score): with the whole
            step's number, which `count_targets` gives, the gradients of a step's parts add up to those of the whole.
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
    vocabulary, dtype = logits.shape[-1], loss_dtype(logits)
    scored = find_scored(targets, weights, vocabulary=vocabulary, dtype=dtype, on_empty=on_empty)
    losses = _Losses.apply(
        logits.reshape(-1, vocabulary), scored.rows, scored.targets, RowLoss(label_smoothing, z_loss)
    )
    if reduction == "none":
        loss = spread(losses, scored)
    else:
        loss = (losses * coefficients(scored, reduction, divisor)).sum()
    return output(loss, losses, scored)


class _Losses(torch.autograd.Function):
    """(N, V) logits -> (n,) losses of the scored rows.

    A few rows at a time, copied and overwritten: no second array as large as the logits but their gradient. The
    softmax is computed again in the backward pass, which is cheaper than storing it.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        logits: torch.Tensor,
        rows: torch.Tensor,
        targets: torch.Tensor,
        row_loss: RowLoss,
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, rows, targets)
        ctx.row_loss = row_loss  # pyright: ignore
        dtype = loss_dtype(logits)
        losses = torch.empty(len(rows), dtype=dtype, device=logits.device)
        for part in chunks(len(rows), rows_at_a_time(logits)):
            x = logits.index_select(0, rows[part]).to(dtype)
            losses[part] = row_loss.in_place(x, targets[part])
        return losses

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_losses: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None]:
        refuse_second_order()
        logits, rows, targets = ctx.saved_tensors  # pyright: ignore
        grad = torch.zeros_like(logits)
        for part in chunks(len(rows), rows_at_a_time(logits)):
            x = logits.index_select(0, rows[part]).to(grad_losses.dtype)
            ctx.row_loss.in_place(x, targets[part], grad_losses[part])  # pyright: ignore
            grad.index_copy_(0, rows[part], x.to(grad.dtype))
        return grad, None, None, None
