"""`linear_masked_cross_entropy`: from hidden states and a head to the loss, by chunks of logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from .._shared.numbers import is_integer
from ..errors import ArgumentError
from ..lower import outside_graph
from ._cross_entropy import RowLoss, chunks
from ._scored import (
    LossOutput,
    Reduction,
    acting_transforms,
    check_floats,
    check_options,
    check_targets,
    check_tensor,
    coefficients,
    find_scored,
    loss_dtype,
    output,
    refuse_second_order,
    scatter,
)

#: Rows of logits held at a time by "auto"; more were not faster in benchmarks/losses.py (docs/log.md).
AUTO_ROWS = 256


@outside_graph
def linear_masked_cross_entropy(
    hidden: torch.Tensor,
    lm_head_weight: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    bias: torch.Tensor | None = None,
    chunk_size: int | Literal["auto"] = "auto",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: Reduction = "token_mean",
    denominator: float | torch.Tensor | None = None,
    on_empty: Literal["zero", "raise"] = "zero",
) -> LossOutput:
    """Compute `masked_cross_entropy(hidden @ lm_head_weight.T + bias, ...)`, by chunks of the scored positions' rows.

    Only scored positions are multiplied by the head: hidden states of other positions, NaN and inf included, change no
    bit of the loss or of any gradient, and their own gradient is exactly 0. At most `chunk_size` rows of logits exist
    at any time; the gradients are computed with them, chunk by chunk, so that nothing is computed twice (for "none" the
    logits are computed again in the backward pass). Gradients reach hidden, lm_head_weight, bias and weights, whichever
    require them. A gradient of the gradient is refused. Under the transforms of `torch.func` and in forward mode, as
    `masked_cross_entropy` says, all rows of logits exist at once.

    Logits, products and sums are float32 whatever the inputs' dtype (float64 where hidden or head are), also under
    autocast; gradients come back in each input's dtype. Under `torch.compile` the call is one graph break: which
    positions are scored, and what is refused, depends on data.

    The source is Liger Kernel's fused linear cross-entropy (Hsu et al. 2024), which takes the gradients in the forward
    pass. PyTorch's own, `torch.nn.functional.linear_cross_entropy` of 2.13, has no weights of tokens and by chunks no
    label smoothing, computes ignored rows too, and gives NaN where nothing is scored.

    Args:
        hidden: (..., D) floats; for "sequence_mean" (..., L, D).
        lm_head_weight: (V, D) floats, as in `torch.nn.Linear`.
        targets: (...) integers in [0, V), or -100 where nothing is scored; already shifted.
        weights: (...) finite numbers >= 0; None counts every target once.
        bias: (V,) floats.
        chunk_size: most rows of logits at a time, at least 1; "auto" is 256, V KiB in float32.
        label_smoothing: as in `masked_cross_entropy`, like the options below.
        z_loss: PaLM's coefficient of the squared log-sum-exp.
        reduction: "token_mean", "sequence_mean", "sum" or "none".
        denominator: divides instead of the sum of weights, or of the number of sequences.
        on_empty: "zero" or "raise". The loss of 0 has a graph as well: every gradient is 0.

    Raises:
        ArgumentError: as `masked_cross_entropy`, and where the head or chunk_size don't fit.

    See also:
        masked_cross_entropy: the same from logits, and its options in full.

    >>> hidden, head = torch.eye(3)[:2], torch.arange(12.0).view(4, 3)
    >>> out = linear_masked_cross_entropy(hidden, head, torch.tensor([3, -100]))
    >>> round(out.loss.item(), 4), out.n_targets
    (0.0511, 1)
    """
    divisor = check_options(reduction, denominator, on_empty, label_smoothing, z_loss)
    check_floats("hidden", hidden, "(..., D)")
    check_targets("hidden states", hidden, targets, weights, reduction)
    _check_head(hidden, lm_head_weight, bias)
    acting = acting_transforms((hidden, lm_head_weight, bias, weights), targets)
    dtype = loss_dtype(hidden, lm_head_weight)
    scored = find_scored(targets, weights, vocabulary=len(lm_head_weight), dtype=dtype, on_empty=on_empty)
    walk = _Walk(scored.rows, scored.targets, RowLoss(label_smoothing, z_loss), _chunk_rows(chunk_size), dtype)
    flat = hidden.reshape(-1, hidden.shape[-1])
    if acting:
        losses = walk.transformable(flat, lm_head_weight, bias)
        if reduction == "none":
            return output(scatter(losses, scored), losses, scored)
        return output((losses * coefficients(scored, reduction, divisor)).sum(), losses, scored)
    if reduction == "none":
        losses = _EachLoss.apply(flat, lm_head_weight, bias, walk)
        return output(scatter(losses, scored), losses, scored)
    # Read here, because inside a Function grad mode is off and says nothing.
    recorded = torch.is_grad_enabled()
    needs = tuple(recorded and x is not None and x.requires_grad for x in (flat, lm_head_weight, bias))
    loss, losses = _SumOfLosses.apply(flat, lm_head_weight, bias, coefficients(scored, reduction, divisor), walk, needs)
    return output(loss, losses, scored)


#: Gradients of hidden's scored rows (n, D), the head (V, D) and the bias (V,); None where no gradient is needed.
_Gradients = list[torch.Tensor | None]


@dataclass(frozen=True, eq=False)
class _Walk:
    """The walk through the scored rows by chunks: everything of a call but its differentiable inputs."""

    # One buffer of logits serves every chunk. Each chunk leaves its losses and its share of the gradients:
    #
    #   hidden rows (n, D)      logits (chunk, V)      losses           gradients
    #   [0 : 256]    -> head -> buffer             ->  [0 : 256]        hidden[0 : 256], head +=, bias +=
    #   [256 : 512]  -> head -> the same buffer    ->  [256 : 512]      hidden[256 : 512], head +=, bias +=

    rows: torch.Tensor
    targets: torch.Tensor
    row_loss: RowLoss
    chunk_size: int
    dtype: torch.dtype

    def run(
        self,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: torch.Tensor | None = None,
        needs: tuple[bool, ...] = (False, False, False),
    ) -> tuple[torch.Tensor, _Gradients]:
        """Return the (n,) losses of the scored rows, and the gradients of the sum of `scale` (n,) times the losses."""
        with torch.autocast(hidden.device.type, enabled=False):
            weight = weight.to(self.dtype)
            bias = None if bias is None else bias.to(self.dtype)
            n, (vocabulary, width) = len(self.rows), weight.shape
            losses = weight.new_empty(n)
            shapes = ((n, width), (vocabulary, width), (vocabulary,))
            gradients = [weight.new_zeros(shape) if need else None for shape, need in zip(shapes, needs, strict=True)]
            grad_hidden, grad_weight, grad_bias = gradients
            # rows of the last chunk may be fewer: a view of the buffer's beginning
            logits = weight.new_empty(min(self.chunk_size, n), vocabulary)
            for part in chunks(n, self.chunk_size):
                h = hidden.index_select(0, self.rows[part]).to(self.dtype)
                x = logits[: len(h)]
                if bias is None:
                    torch.mm(h, weight.T, out=x)
                else:
                    torch.addmm(bias, h, weight.T, out=x)
                losses[part] = self.row_loss.in_place(x, self.targets[part], None if scale is None else scale[part])
                # With a scale, x now holds the gradient of the logits.
                if grad_hidden is not None:
                    torch.mm(x, weight, out=grad_hidden[part])
                if grad_weight is not None:
                    grad_weight.addmm_(x.T, h)
                if grad_bias is not None:
                    grad_bias += x.sum(0)
        return losses, gradients

    def transformable(self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Return the (n,) losses by operators that every transform of torch has a rule for, not by chunks."""
        with torch.autocast(hidden.device.type, enabled=False):
            logits = hidden.index_select(0, self.rows).to(self.dtype) @ weight.to(self.dtype).T
            logits = logits if bias is None else logits + bias.to(self.dtype)
            return self.row_loss.transformable(logits, self.targets)

    def like_inputs(
        self, gradients: _Gradients, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> _Gradients:
        """Return the gradients in the inputs' shapes and dtypes: 0 in the rows of hidden that are not scored."""
        grad_hidden, grad_weight, grad_bias = gradients
        if grad_hidden is not None:
            grad_hidden = torch.zeros_like(hidden).index_copy_(0, self.rows, grad_hidden.to(hidden.dtype))
        if grad_weight is not None:
            grad_weight = grad_weight.to(weight.dtype)
        if grad_bias is not None and bias is not None:
            grad_bias = grad_bias.to(bias.dtype)
        return [grad_hidden, grad_weight, grad_bias]


class _SumOfLosses(torch.autograd.Function):
    """The function to the sum of scale (n,) times losses, and the (n,) losses without gradient.

    The gradients are computed in the forward pass, when the logits are there: the backward pass only scales them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: torch.Tensor,
        walk: _Walk,
        needs: tuple[bool, ...],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        losses, ctx.gradients = walk.run(hidden, weight, bias, scale if any(needs) else None, needs)
        ctx.save_for_backward(hidden, weight, bias, scale, losses)
        ctx.walk, ctx.needs = walk, needs
        ctx.mark_non_differentiable(losses)
        return (scale * losses).sum(), losses

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        refuse_second_order()
        grad_loss, _ = grad_outputs
        hidden, weight, bias, scale, losses = ctx.saved_tensors
        # Handed over and scaled in place, so that no second array of the head's size is made. If the graph was retained
        # and runs backward again, the gradients are computed again.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            _, gradients = ctx.walk.run(hidden, weight, bias, scale, ctx.needs)
        gradients = [g if g is None else g.mul_(grad_loss) for g in gradients]
        grad_scale = losses * grad_loss if ctx.needs_input_grad[3] else None
        return *ctx.walk.like_inputs(gradients, hidden, weight, bias), grad_scale, None, None


class _EachLoss(torch.autograd.Function):
    """The function to the (n,) losses, for "none".

    The factor of each loss's gradient is known in the backward pass only, which computes the logits again.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, walk: _Walk
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden, weight, bias)
        ctx.walk = walk
        return walk.run(hidden, weight, bias)[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        refuse_second_order()
        (grad_losses,) = grad_outputs
        hidden, weight, bias = ctx.saved_tensors
        _, gradients = ctx.walk.run(hidden, weight, bias, grad_losses, ctx.needs_input_grad[:3])
        return *ctx.walk.like_inputs(gradients, hidden, weight, bias), None


def _check_head(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    check_tensor("lm_head_weight", weight)
    width = hidden.shape[-1]
    if not weight.is_floating_point() or weight.ndim != 2 or weight.shape[1] != width or not len(weight):
        raise ArgumentError(
            f"lm_head_weight must be floats of shape (V, {width}), as in nn.Linear, got {weight.dtype} "
            f"{tuple(weight.shape)}; transpose or convert it"
        )
    if bias is not None and (not bias.is_floating_point() or bias.shape != weight.shape[:1]):
        raise ArgumentError(
            f"bias must be floats of shape ({len(weight)},), one per class, got {bias.dtype} {tuple(bias.shape)}; "
            "pass the head's own"
        )


def _chunk_rows(chunk_size: int | Literal["auto"]) -> int:
    if isinstance(chunk_size, str) and chunk_size == "auto":
        return AUTO_ROWS
    if not is_integer(chunk_size) or int(chunk_size) < 1:
        raise ArgumentError(f"chunk_size must be 'auto' or at least 1 row, got {chunk_size!r}; 256 is usual")
    return int(chunk_size)
