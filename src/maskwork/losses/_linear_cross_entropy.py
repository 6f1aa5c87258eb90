"""`linear_masked_cross_entropy`: hidden states and a head straight to the loss; the logits never whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..errors import ArgumentError
from ..lower import outside_graph
from ._checks import (
    check_floats,
    check_options,
    check_targets,
    check_tensor,
    find_scored,
    loss_dtype,
    refuse_second_order,
)
from ._output import LossOutput, Reduction, coefficients, output, spread
from ._rows import RowLoss, chunks

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
    """`masked_cross_entropy(hidden @ lm_head_weight.T + bias, ...)`, by chunks of the scored positions' rows.

    Only scored positions meet the head: what stands at others, NaN and inf included, changes no bit of the loss or of
    any gradient, and its own gradient is exactly 0. At most `chunk_size` rows of logits exist at any time; the
    gradients are computed with them, chunk by chunk, so that nothing is computed twice (for "none" the logits are
    computed again in the backward pass). Gradients reach hidden, lm_head_weight and bias, whichever require them, and
    weights that do. A gradient of the gradient is refused.

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
        label_smoothing: as in `masked_cross_entropy`, like all that follows.
        z_loss: as there.
        reduction: as there.
        denominator: as there.
        on_empty: as there. The loss of 0 is a graph's as well: every gradient is 0.

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
    dtype = loss_dtype(hidden, lm_head_weight)
    scored = find_scored(targets, weights, vocabulary=len(lm_head_weight), dtype=dtype, on_empty=on_empty)
    walk = _Walk(scored.rows, scored.targets, RowLoss(label_smoothing, z_loss), _rows_at_a_time(chunk_size), dtype)
    flat = hidden.reshape(-1, hidden.shape[-1])
    if reduction == "none":
        losses = _EachLoss.apply(flat, lm_head_weight, bias, walk)
        return output(spread(losses, scored), losses, scored)
    # Whether a gradient will be asked for can't be told inside a Function.
    wanted = tuple(torch.is_grad_enabled() and x is not None and x.requires_grad for x in (flat, lm_head_weight, bias))
    loss, losses = _SumOfLosses.apply(
        flat, lm_head_weight, bias, coefficients(scored, reduction, divisor), walk, wanted
    )
    return output(loss, losses, scored)


#: Gradients of hidden's scored rows (n, D), the head (V, D) and the bias (V,); None where not wanted.
_Gradients = list[torch.Tensor | None]


@dataclass(frozen=True, eq=False)
class _Walk:
    """A walk through the scored rows by chunks: all about a call but its differentiable inputs."""

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
        wanted: tuple[bool, ...] = (False, False, False),
    ) -> tuple[torch.Tensor, _Gradients]:
        """(n,) losses of the scored rows, and the gradients of the sum of `scale` (n,) times these losses."""
        with torch.autocast(hidden.device.type, enabled=False):
            weight = weight.to(self.dtype)
            bias = None if bias is None else bias.to(self.dtype)
            n, (vocabulary, width) = len(self.rows), weight.shape
            losses = weight.new_empty(n)
            shapes = ((n, width), (vocabulary, width), (vocabulary,))
            gradients = [weight.new_zeros(shape) if want else None for shape, want in zip(shapes, wanted, strict=True)]
            of_hidden, of_weight, of_bias = gradients
            logits = weight.new_empty(min(self.chunk_size, n), vocabulary)
            for part in chunks(n, self.chunk_size):
                h = hidden.index_select(0, self.rows[part]).to(self.dtype)
                x = logits[: len(h)]
                if bias is None:
                    torch.mm(h, weight.T, out=x)
                else:
                    torch.addmm(bias, h, weight.T, out=x)
                losses[part] = self.row_loss.in_place(x, self.targets[part], None if scale is None else scale[part])
                if of_hidden is not None:
                    torch.mm(x, weight, out=of_hidden[part])
                if of_weight is not None:
                    of_weight.addmm_(x.T, h)
                if of_bias is not None:
                    of_bias += x.sum(0)
        return losses, gradients

    def like_inputs(
        self, gradients: _Gradients, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> _Gradients:
        """The gradients in the inputs' shapes and dtypes: 0 in the rows of hidden that are not scored."""
        of_hidden, of_weight, of_bias = gradients
        if of_hidden is not None:
            of_hidden = torch.zeros_like(hidden).index_copy_(0, self.rows, of_hidden.to(hidden.dtype))
        if of_weight is not None:
            of_weight = of_weight.to(weight.dtype)
        if of_bias is not None and bias is not None:
            of_bias = of_bias.to(bias.dtype)
        return [of_hidden, of_weight, of_bias]


class _SumOfLosses(torch.autograd.Function):
    """-> the sum of scale (n,) times losses, and the (n,) losses without gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: torch.Tensor,
        walk: _Walk,
        wanted: tuple[bool, ...],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        losses, ctx.gradients = walk.run(hidden, weight, bias, scale if any(wanted) else None, wanted)
        ctx.save_for_backward(hidden, weight, bias, scale, losses)
        ctx.walk, ctx.wanted = walk, wanted
        ctx.mark_non_differentiable(losses)
        return (scale * losses).sum(), losses

    @staticmethod
    def backward(ctx: Any, grad_loss: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        refuse_second_order()
        hidden, weight, bias, scale, losses = ctx.saved_tensors
        # Given away and scaled in place, so that no second array of the head's size is made: where the graph was
        # retained and comes here again, they are computed anew.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            _, gradients = ctx.walk.run(hidden, weight, bias, scale, ctx.wanted)
        gradients = [g if g is None else g.mul_(grad_loss) for g in gradients]
        of_scale = losses * grad_loss if ctx.needs_input_grad[3] else None
        return *ctx.walk.like_inputs(gradients, hidden, weight, bias), of_scale, None, None


class _EachLoss(torch.autograd.Function):
    """-> the (n,) losses; what each one's gradient will be multiplied by is known in the backward pass only."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, walk: _Walk
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden, weight, bias)
        ctx.walk = walk
        return walk.run(hidden, weight, bias)[0]

    @staticmethod
    def backward(ctx: Any, grad_losses: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        refuse_second_order()
        hidden, weight, bias = ctx.saved_tensors
        _, gradients = ctx.walk.run(hidden, weight, bias, grad_losses, ctx.needs_input_grad[:3])
        return *ctx.walk.like_inputs(gradients, hidden, weight, bias), None


def _check_head(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    check_tensor("lm_head_weight", weight)
    width = hidden.shape[-1]
    if not weight.is_floating_point() or weight.ndim != 2 or weight.shape[1] != width or not len(weight):
        raise ArgumentError(
            f"lm_head_weight must be floats of shape (V, {width}), as in nn.Linear; found {weight.dtype} "
            f"{tuple(weight.shape)}; transpose or convert it"
        )
    if bias is not None and (not bias.is_floating_point() or bias.shape != weight.shape[:1]):
        raise ArgumentError(
            f"bias must be floats of shape ({len(weight)},), one per class; found {bias.dtype} {tuple(bias.shape)}; "
            "pass the head's own"
        )


def _rows_at_a_time(chunk_size: int | Literal["auto"]) -> int:
    if chunk_size == "auto":
        return AUTO_ROWS
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ArgumentError(f"chunk_size must be 'auto' or at least 1 row; found {chunk_size!r}; 256 is usual")
    return chunk_size
