"""Both losses under torch.func's transforms and in forward mode: the derivatives of torch's own cross-entropy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import maskwork as mw
from maskwork.errors import CannotExpress

# torch loads its forward-mode decompositions with a function of its own that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")

ROWS, WIDTH, CLASSES = (2, 5), 4, 7
TARGETS = torch.tensor([[0, -100, 3, 6, 1], [-100, -100, 2, 2, 5]])
WEIGHTS = torch.tensor([[1.0, 2.0, 0.0, 0.5, 1.0], [1.0, 1.0, 3.0, 1.0, 0.25]])
HEAD = torch.randn(CLASSES, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Loss = Callable[[torch.Tensor], torch.Tensor]


def losses(kind: str, options: dict[str, Any]) -> tuple[Loss, Loss, torch.Tensor]:
    """Return our loss, the one of formulas, and an input, of logits or of hidden states."""
    smoothing, z_loss = options.get("label_smoothing", 0.0), options.get("z_loss", 0.0)
    x = torch.randn(*ROWS, CLASSES if kind == "logits" else WIDTH, dtype=torch.float64,
                    generator=torch.Generator().manual_seed(0))  # fmt: skip

    def ours(x: torch.Tensor) -> torch.Tensor:
        if kind == "logits":
            return mw.masked_cross_entropy(x, TARGETS, WEIGHTS, **options).loss
        return mw.linear_masked_cross_entropy(x, HEAD, TARGETS, WEIGHTS, chunk_size=2, **options).loss

    def formula(x: torch.Tensor) -> torch.Tensor:
        logits = (x if kind == "logits" else x @ HEAD.T).flatten(0, 1)
        weights = WEIGHTS.double().flatten() * (TARGETS.flatten() != -100)
        each = F.cross_entropy(logits, TARGETS.flatten(), reduction="none", label_smoothing=smoothing)
        each = (each + z_loss * logits.logsumexp(-1).square()) * weights
        return each.view(ROWS) if options.get("reduction") == "none" else each.sum() / weights.sum()

    return ours, formula, x


TRANSFORMS: dict[str, Callable[[Loss, torch.Tensor], torch.Tensor]] = {
    "grad": lambda f, x: torch.func.grad(lambda y: f(y).sum())(x),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x).cumsum(-1),))[1],
    "vmap": lambda f, x: torch.func.vmap(f)(torch.stack([x, x * 2])),
    "vmap(grad)": lambda f, x: torch.func.vmap(torch.func.grad(lambda y: f(y).sum()))(torch.stack([x, x * 2])),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "hessian": lambda f, x: torch.func.hessian(lambda y: f(y).sum())(x),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "z_loss": 1e-2}, {"reduction": "none"}], ids=str)
@pytest.mark.parametrize("kind", ["logits", "hidden"])
def test_the_derivatives_of_the_formula(kind: str, options: dict[str, Any], transform: str):
    ours, formula, x = losses(kind, options)
    torch.testing.assert_close(TRANSFORMS[transform](ours, x), TRANSFORMS[transform](formula, x))


@pytest.mark.parametrize("kind", ["logits", "hidden"])
def test_forward_mode_without_torch_func(kind: str):
    ours, formula, x = losses(kind, {})
    tangent = torch.ones_like(x).cumsum(-1)
    with forward_ad.dual_level():
        got, wanted = (forward_ad.unpack_dual(f(forward_ad.make_dual(x, tangent))).tangent for f in (ours, formula))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("kind", ["logits", "hidden"])
def test_checkpointed(kind: str):
    ours, formula, x = losses(kind, {})
    leaf = x.requires_grad_()
    (got,) = torch.autograd.grad(checkpoint(ours, leaf, use_reentrant=False), leaf)
    torch.testing.assert_close(got, torch.autograd.grad(formula(leaf), leaf)[0])


def test_gradients_reach_head_bias_and_weights():
    hidden = torch.randn(*ROWS, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    bias = torch.zeros(CLASSES, dtype=torch.float64)

    def loss(head: torch.Tensor, bias: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return mw.linear_masked_cross_entropy(hidden, head, TARGETS, weights, bias=bias).loss

    inputs = HEAD, bias, WEIGHTS.double()
    leaves = [x.clone().requires_grad_() for x in inputs]
    wanted = torch.autograd.grad(loss(*leaves), leaves)
    torch.testing.assert_close(torch.func.grad(loss, argnums=(0, 1, 2))(*inputs), wanted)


def test_vmap_over_targets_or_weights_is_refused():
    x = torch.zeros(*ROWS, CLASSES)
    for arguments in ((x, TARGETS), (x, TARGETS, WEIGHTS)):
        with pytest.raises(CannotExpress, match=r"scored positions once for all samples of torch\.vmap, got"):
            torch.func.vmap(lambda *a: mw.masked_cross_entropy(*a).loss)(*arguments)
    with pytest.raises(CannotExpress, match="vmap"):
        torch.func.vmap(torch.func.grad(lambda y, t: mw.masked_cross_entropy(y, t).loss))(x, TARGETS)
