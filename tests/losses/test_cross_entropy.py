"""`masked_cross_entropy` against a float64 loop, and what stands at unscored positions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import loss_oracle
from maskwork.errors import ArgumentError
from maskwork.losses import TargetCounts, linear_masked_cross_entropy, masked_cross_entropy

REDUCTIONS = ["token_mean", "sequence_mean", "sum"]
NAN, INF = float("nan"), float("inf")


def case(seed, rows=3, length=5, vocabulary=7, scale=3.0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, length, vocabulary, generator=g, dtype=torch.float64) * scale
    targets = torch.randint(0, vocabulary, (rows, length), generator=g)
    targets[torch.rand(rows, length, generator=g) < 0.3] = -100
    weights = torch.rand(rows, length, generator=g)
    weights[torch.rand(rows, length, generator=g) < 0.2] = 0.0
    return logits, targets, weights


def oracle(logits, targets, weights, reduction):
    """The definition in Python floats (float64): (loss, loss_sum, weight_sum, n_targets)."""
    total = total_weight = 0.0
    n_targets = 0
    means = []
    for row in range(len(targets)):
        row_sum = row_weight = 0.0
        for i, target in enumerate(targets[row].tolist()):
            weight = float(weights[row, i])
            if target == -100 or weight == 0:
                continue
            x = logits[row, i].tolist()
            top = max(x)
            row_sum += weight * (top + math.log(sum(math.exp(v - top) for v in x)) - x[target])
            row_weight += weight
            n_targets += 1
        total += row_sum
        total_weight += row_weight
        if row_weight:
            means.append(row_sum / row_weight)
    loss = {
        "sum": total,
        "token_mean": total / total_weight if total_weight else 0.0,
        "sequence_mean": sum(means) / len(means) if means else 0.0,
    }[reduction]
    return loss, total, total_weight, n_targets


@given(st.integers(0, 2**32), st.sampled_from(REDUCTIONS), st.booleans())
def test_equals_the_float64_loop(seed, reduction, weighted):
    logits, targets, weights = case(seed)
    used = weights if weighted else torch.ones_like(weights)
    loss, loss_sum, weight_sum, n_targets = oracle(logits, targets, used, reduction)
    exact = masked_cross_entropy(logits, targets, weights if weighted else None, reduction=reduction)
    assert exact.loss.item() == pytest.approx(loss, rel=1e-12, abs=1e-12)
    assert exact.loss_sum.item() == pytest.approx(loss_sum, rel=1e-12, abs=1e-12)
    assert exact.weight_sum.item() == pytest.approx(weight_sum, rel=1e-12)
    assert exact.n_targets == n_targets
    single = masked_cross_entropy(logits.float(), targets, weights if weighted else None, reduction=reduction)
    assert single.loss.dtype == torch.float32
    # A handful of float32 roundings, of numbers as large as the largest logit.
    slack = 16 * torch.finfo(torch.float32).eps * (logits.abs().max().item() + abs(loss_sum))
    assert abs(single.loss.item() - loss) <= slack


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_logits_are_reduced_in_float32(dtype):
    logits, targets, weights = case(1, rows=4, length=64, vocabulary=33)
    rounded = logits.to(dtype).requires_grad_()
    out = masked_cross_entropy(rounded, targets, weights)
    assert out.loss.dtype == torch.float32
    # Only the input was rounded: against the same rounded logits the loss is exact to float32.
    expected = oracle(rounded.detach().double(), targets, weights, "token_mean")[0]
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    out.loss.backward()
    assert rounded.grad.dtype == dtype


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck(reduction):
    logits, targets, weights = case(2)
    weights = weights.double()
    logits.requires_grad_()
    weights.requires_grad_()
    # A weight at its border (0) has no two-sided derivative.
    targets = targets.where(weights > 1e-3, -100)
    assert torch.autograd.gradcheck(
        lambda x, w: masked_cross_entropy(x, targets, w.abs(), reduction=reduction).loss, (logits, weights)
    )


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_unscored_logits_change_nothing(poison, reduction):
    logits, targets, weights = case(3)
    logits = logits.float()
    unscored = (targets == -100) | (weights == 0)
    assert unscored.any()
    results = []
    for fill in (0.0, poison):
        x = logits.clone()
        x[unscored] = fill
        if fill is poison:
            x[unscored, 0] = 1.0  # a mixture of finite and not
        x.requires_grad_()
        out = masked_cross_entropy(x, targets, weights, reduction=reduction)
        out.loss.backward()
        results.append((out.loss.detach(), x.grad))
    (clean, clean_grad), (poisoned, poisoned_grad) = results
    assert torch.equal(clean, poisoned)
    assert torch.equal(clean_grad, poisoned_grad)
    assert not poisoned_grad[unscored].any()


def test_gradient_reaches_a_head_only_through_scored_positions():
    # As in real use: hidden states times a head. What reaches an unscored hidden state is exactly 0.
    hidden = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    head = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    masked_cross_entropy(hidden @ head.T, torch.tensor([1, -100, 2, -100])).loss.backward()
    assert hidden.grad[[0, 2]].any(dim=-1).all()
    assert not hidden.grad[[1, 3]].any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nothing_scored(reduction):
    logits = torch.full((2, 3, 4), NAN, requires_grad=True)
    targets = torch.full((2, 3), -100)
    out = masked_cross_entropy(logits, targets, reduction=reduction)
    out.loss.backward()
    assert (out.loss.item(), out.loss_sum.item(), out.weight_sum.item(), out.n_targets) == (0.0, 0.0, 0.0, 0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    with pytest.raises(ArgumentError, match="at least one scored position"):
        masked_cross_entropy(logits, targets, reduction=reduction, on_empty="raise")


def test_parts_with_a_common_denominator_add_up():
    logits, targets, weights = case(4, rows=4)
    whole = masked_cross_entropy(logits, targets, weights)
    for denominator in (whole.weight_sum, float(whole.weight_sum)):
        parts = [
            masked_cross_entropy(logits[i : i + 1], targets[i : i + 1], weights[i : i + 1], denominator=denominator)
            for i in range(4)
        ]
        total = sum(part.loss.item() for part in parts)
        assert total == pytest.approx(whole.loss.item(), rel=1e-6)
    by_sequence = masked_cross_entropy(logits, targets, weights, reduction="sequence_mean")
    twice = masked_cross_entropy(logits, targets, weights, reduction="sequence_mean", denominator=8)
    assert twice.loss.item() == pytest.approx(by_sequence.loss.item() / 2)


def test_any_leading_shape():
    logits, targets, _ = case(5)
    expected = masked_cross_entropy(logits, targets).loss
    assert torch.equal(masked_cross_entropy(logits.flatten(0, 1), targets.flatten()).loss, expected)
    turned = masked_cross_entropy(logits.transpose(0, 1), targets.T).loss
    torch.testing.assert_close(turned, expected)
    single = masked_cross_entropy(logits[0, 0], torch.tensor(3))
    assert single.loss.item() == pytest.approx(-torch.log_softmax(logits[0, 0], -1)[3].item())


def test_no_gradient_is_recorded_where_none_is_asked():
    logits, targets, weights = case(6)
    assert not masked_cross_entropy(logits, targets, weights).loss.requires_grad
    with torch.no_grad():
        assert not masked_cross_entropy(logits.requires_grad_(), targets).loss.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"targets": torch.tensor([[0, 7]])},
            r"targets must lie in \[0, 7\) or be -100, got 7 at \[0, 1\]",
        ),
        ({"targets": torch.tensor([[-1, 9]])}, r"got -1 at \[0, 0\]"),
        ({"targets": torch.zeros(2, 1, dtype=torch.long)}, r"\(1, 2\), got \(2, 1\)"),
        ({"targets": torch.zeros(1, 2)}, "targets must be integers, got torch.float32"),
        ({"weights": torch.ones(2)}, r"weights must have the targets' shape \(1, 2\), got \(2,\)"),
        (
            {"weights": torch.tensor([[1.0, -0.5]])},
            r"weights must be finite in torch.float32 and at least 0, got -0.5 at \[0, 1\]",
        ),
        ({"weights": torch.tensor([[NAN, 1.0]])}, r"weights must be finite .* got nan at \[0, 0\]"),
        ({"logits": torch.zeros(1, 2, 7, dtype=torch.long)}, "logits must be floats"),
        ({"reduction": "mean"}, "reduction must be one of token_mean, sequence_mean, sum, none, got 'mean'"),
        ({"on_empty": "ignore"}, "on_empty must be zero or raise, got 'ignore'"),
        ({"label_smoothing": 1.5}, r"label_smoothing must lie in \[0, 1\], got 1.5"),
        ({"label_smoothing": NAN}, "label_smoothing must be finite, got nan"),
        ({"z_loss": -1e-4}, "z_loss must be at least 0, got -0.0001"),
        ({"denominator": torch.ones(2)}, r"denominator must be one number, got a tensor \(2,\)"),
        ({"label_smoothing": "0.1"}, r"label_smoothing must be a number, got '0.1' \(str\)"),
        ({"label_smoothing": True}, r"label_smoothing must be a number, got True \(bool\)"),
        ({"z_loss": None}, r"z_loss must be a number, got None \(NoneType\)"),
        ({"denominator": True}, "denominator must be one number, got bool"),
        ({"denominator": "3"}, "denominator must be one number, got str"),
        ({"denominator": TargetCounts(1.0, 1, 1)}, "got TargetCounts; .* pass .weight_sum"),
        ({"targets": [[0, 1]]}, "targets must be a tensor, got list"),
        ({"weights": [[1.0, 1.0]]}, "weights must be a tensor, got list"),
        ({"denominator": 0.0}, "denominator must be above 0, got 0"),
        ({"denominator": 2.0, "reduction": "sum"}, "reduction 'sum' divides by nothing"),
    ],
)
def test_refuses(change, message):
    arguments = {"logits": torch.zeros(1, 2, 7), "targets": torch.tensor([[0, 1]])} | change
    with pytest.raises(ArgumentError, match=message) as caught:
        masked_cross_entropy(**arguments)
    assert "\n" not in str(caught.value)


def test_a_bad_target_is_refused_even_where_its_weight_is_zero():
    with pytest.raises(ArgumentError, match="got 99"):
        masked_cross_entropy(torch.zeros(2, 7), torch.tensor([0, 99]), torch.tensor([1.0, 0.0]))


@given(
    seed=st.integers(0, 2**32),
    reduction=st.sampled_from(loss_oracle.REDUCTIONS),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    z_loss=st.sampled_from([0.0, 0.01]),
    weighted=st.booleans(),
)
def test_every_option_equals_the_formula_and_its_gradient(seed, reduction, label_smoothing, z_loss, weighted):
    logits, targets, weights = case(seed)
    weights = weights.double() if weighted else None
    ours, exact = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    out = masked_cross_entropy(
        ours, targets, weights, label_smoothing=label_smoothing, z_loss=z_loss, reduction=reduction
    )
    loss = loss_oracle.formula(exact, targets, weights, reduction, label_smoothing, z_loss)
    torch.testing.assert_close(out.loss, loss, rtol=1e-12, atol=1e-12)
    out.loss.sum().backward()
    loss.sum().backward()
    torch.testing.assert_close(ours.grad, exact.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize(("ours", "theirs"), [("token_mean", "mean"), ("sum", "sum"), ("none", "none")])
def test_equals_pytorchs_cross_entropy(ours, theirs, label_smoothing):
    logits, targets, _ = case(7)
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = masked_cross_entropy(a, targets, reduction=ours, label_smoothing=label_smoothing).loss
    expected = torch.nn.functional.cross_entropy(
        b.flatten(0, 1), targets.flatten(), reduction=theirs, label_smoothing=label_smoothing
    )
    torch.testing.assert_close(loss.flatten() if loss.ndim else loss, expected, rtol=1e-12, atol=1e-12)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)


def test_z_loss_and_sequence_mean_by_hand():
    # Two equal logits: each loss is log 2, its log-sum-exp too where the logits are 0, and 1 more where they are 1.
    log2 = math.log(2)
    logits = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]).double()
    targets = torch.tensor([[0, 1], [1, -100], [-100, -100]])
    weights = torch.tensor([[1.0, 3.0], [0.5, 9.0], [9.0, 9.0]])
    first, second = log2 + 0.5 * log2**2, log2 + 0.5 * (1 + log2) ** 2
    out = masked_cross_entropy(logits, targets, weights, z_loss=0.5, reduction="sequence_mean")
    assert out.loss.item() == pytest.approx(((first + 3 * second) / 4 + first) / 2, rel=1e-14)
    assert out.loss_sum.item() == pytest.approx(first + 3 * second + 0.5 * first, rel=1e-14)
    assert (out.weight_sum.item(), out.n_targets) == (4.5, 3)
    each = masked_cross_entropy(logits, targets, weights, z_loss=0.5, reduction="none").loss
    assert each.flatten().tolist() == pytest.approx([first, 3 * second, 0.5 * first, 0, 0, 0], rel=1e-14)


def test_only_the_loss_carries_a_gradient():
    logits, targets, weights = case(8)
    for reduction in loss_oracle.REDUCTIONS:
        out = masked_cross_entropy(logits.clone().requires_grad_(), targets, weights, reduction=reduction)
        assert out.loss.requires_grad
        assert not out.loss_sum.requires_grad
        assert not out.weight_sum.requires_grad


def test_a_weight_that_the_loss_cannot_hold_is_zero_or_refused():
    # 1e-60 is 0 in float32, in which a float32 loss counts: dropped, not 0 / 0.
    logits, targets = torch.zeros(1, 2, 3), torch.tensor([[0, 1]])
    weights = torch.tensor([[1e-60, 1e-60]], dtype=torch.float64)
    for reduction in REDUCTIONS:
        assert masked_cross_entropy(logits, targets, weights, reduction=reduction).loss == 0
    assert masked_cross_entropy(logits.double(), targets, weights).n_targets == 2
    with pytest.raises(ArgumentError, match=r"finite in torch.float32"):
        masked_cross_entropy(logits, targets, 1 / weights)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32])
def test_targets_of_narrow_types_are_neither_ignored_nor_refused(dtype):
    # As uint8, -100 is 156 and a vocabulary of 300 is 44.
    targets = torch.tensor([0, 100, 156 if dtype != torch.int8 else 127])
    logits = torch.randn(3, 300, generator=torch.Generator().manual_seed(0))
    wide, narrow = masked_cross_entropy(logits, targets), masked_cross_entropy(logits, targets.to(dtype))
    assert narrow.n_targets == 3
    assert torch.equal(narrow.loss, wide.loss)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", "sum", "none"])
def test_weights_whose_sum_overflows_are_refused_and_not_a_loss_of_zero(reduction):
    logits, targets, weights = torch.ones(1, 2, 3), torch.tensor([[0, 1]]), torch.full((1, 2), 3e38)
    with pytest.raises(ArgumentError, match="finite sum"):
        masked_cross_entropy(logits, targets, weights, reduction=reduction)
    with pytest.raises(ArgumentError, match="finite sum"):
        linear_masked_cross_entropy(logits, torch.ones(4, 3), targets, weights, reduction=reduction)


def test_an_option_is_any_one_number():
    logits, targets = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    plain = masked_cross_entropy(logits, targets, label_smoothing=0.5, z_loss=0.25, denominator=2).loss
    for kind in (np.float32, np.float64):
        options = {"label_smoothing": kind(0.5), "z_loss": kind(0.25), "denominator": kind(2.0)}
        assert torch.equal(masked_cross_entropy(logits, targets, **options).loss, plain)
    for denominator in (np.int64(2), torch.tensor(2), torch.tensor(2.0)):
        out = masked_cross_entropy(logits, targets, label_smoothing=0.5, z_loss=0.25, denominator=denominator)
        assert torch.equal(out.loss, plain)
