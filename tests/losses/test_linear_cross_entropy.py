"""`linear_masked_cross_entropy` against the plainest formula on whole logits, and what stands at unscored positions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from helpers.loss_oracle import NAN, REDUCTIONS, formula
from maskwork.errors import ArgumentError
from maskwork.losses import linear_masked_cross_entropy, masked_cross_entropy


def case(seed, shape=(3, 5), width=4, vocabulary=7, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, width, generator=g, dtype=torch.float64)
    head = torch.randn(vocabulary, width, generator=g, dtype=torch.float64)
    bias = torch.randn(vocabulary, generator=g, dtype=torch.float64)
    targets = torch.randint(0, vocabulary, shape, generator=g)
    targets[torch.rand(shape, generator=g) < 0.3] = -100
    weights = torch.rand(shape, generator=g, dtype=torch.float64)
    weights[torch.rand(shape, generator=g) < 0.2] = 0.0
    return (*(x.to(dtype) for x in (hidden, head, bias)), targets, weights)


def leaves(*tensors):
    return [x.detach().clone().requires_grad_() for x in tensors]


@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(), (1,), (6,), (3, 5), (2, 2, 3), (0,), (2, 0)]),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    chunk_size=st.sampled_from(["auto", 1, 2, 3, 100]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    reduction=st.sampled_from(REDUCTIONS),
    options=st.tuples(st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([0.0, 0.01]), st.booleans(), st.booleans()),
)
def test_equals_the_formula_and_its_gradients(seed, shape, sizes, chunk_size, dtype, reduction, options):
    label_smoothing, z_loss, weighted, with_bias = options
    if not shape and reduction == "sequence_mean":
        return
    hidden, head, bias, targets, weights = case(seed, shape, *sizes, dtype)
    weights = weights if weighted else None
    upstream = torch.randn(shape if reduction == "none" else (), dtype=torch.float64)

    ours = leaves(hidden, head, bias)
    out = linear_masked_cross_entropy(
        *ours[:2], targets, weights, bias=ours[2] if with_bias else None, chunk_size=chunk_size,
        label_smoothing=label_smoothing, z_loss=z_loss, reduction=reduction,
    )  # fmt: skip
    exact = leaves(hidden.double(), head.double(), bias.double())
    logits = exact[0] @ exact[1].T + (exact[2] if with_bias else 0)
    loss = formula(logits, targets, weights, reduction, label_smoothing, z_loss)
    assert out.loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    # The inputs are the same numbers on both sides: only our arithmetic rounds, and gradients to the inputs' dtype.
    at_most = {torch.float64: 1e-12, torch.float32: 2e-5}
    close = at_most.get(dtype, 2e-5)
    torch.testing.assert_close(out.loss.double(), loss, rtol=close, atol=close)
    (out.loss.double() * upstream).sum().backward()
    (loss * upstream).sum().backward()
    close = at_most.get(dtype, 4 * torch.finfo(dtype).eps)
    for got, expected in zip(ours[: 2 + with_bias], exact, strict=False):
        assert got.grad.dtype == dtype
        assert got.grad.shape == got.shape
        torch.testing.assert_close(got.grad.double(), expected.grad, rtol=close, atol=close)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck(reduction):
    hidden, head, bias, targets, weights = case(1, (2, 3))
    # A weight at its border (0) has no two-sided derivative.
    targets = targets.where(weights > 1e-3, -100)
    assert torch.autograd.gradcheck(
        lambda h, w, b, c: (
            linear_masked_cross_entropy(
                h, w, targets, c.abs(), bias=b, chunk_size=2, label_smoothing=0.1, z_loss=0.01, reduction=reduction
            ).loss
        ),
        leaves(hidden, head, bias, weights),
    )


@pytest.mark.parametrize("poison", [NAN, float("inf")])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_an_unscored_row_changes_no_bit(reduction, poison):
    hidden, head, bias, targets, weights = case(2, dtype=torch.float32)
    unscored = (targets == -100) | (weights == 0)
    assert unscored.any()
    results = []
    for fill in (0.0, poison):
        h, w, b = leaves(hidden.masked_fill(unscored[..., None], fill), head, bias)
        out = linear_masked_cross_entropy(h, w, targets, weights, bias=b, chunk_size=2, reduction=reduction)
        out.loss.sum().backward()
        results.append((out.loss.detach(), out.loss_sum, h.grad, w.grad, b.grad))
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean, poisoned)
    assert not results[1][2][unscored].any()
    assert results[1][2][~unscored].any(-1).all()


def test_a_row_with_every_target_ignored_contributes_nothing():
    hidden, head, _, targets, weights = case(3, (4, 5), dtype=torch.float32)
    targets[2] = -100
    others = torch.tensor([0, 1, 3])
    for reduction in ("token_mean", "sequence_mean", "sum"):
        h, w = leaves(hidden, head)
        whole = linear_masked_cross_entropy(h, w, targets, weights, reduction=reduction)
        whole.loss.backward()
        g, v = leaves(hidden[others], head)
        part = linear_masked_cross_entropy(g, v, targets[others], weights[others], reduction=reduction)
        part.loss.backward()
        assert torch.equal(whole.loss, part.loss)
        assert torch.equal(w.grad, v.grad)
        assert torch.equal(h.grad[others], g.grad)
        assert not h.grad[2].any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nothing_scored_is_a_zero_of_the_graph(reduction):
    h, w, b = leaves(torch.full((2, 3, 4), NAN), torch.randn(7, 4), torch.randn(7))
    targets = torch.full((2, 3), -100)
    out = linear_masked_cross_entropy(h, w, targets, bias=b, reduction=reduction)
    out.loss.sum().backward()
    assert not out.loss.any()
    assert (out.loss_sum.item(), out.weight_sum.item(), out.n_targets) == (0.0, 0.0, 0)
    for leaf in (h, w, b):
        assert torch.equal(leaf.grad, torch.zeros_like(leaf))
    with pytest.raises(ArgumentError, match="at least one scored position"):
        linear_masked_cross_entropy(h, w, targets, reduction=reduction, on_empty="raise")


@pytest.mark.skipif(not hasattr(torch.nn, "LinearCrossEntropyOptions"), reason="torch fuses none by chunks before 2.13")
def test_pytorchs_own_by_chunks_is_poisoned_where_ours_is_not():
    # The day PyTorch mends one of these, this test says so.
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    head = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))

    h, w = leaves(torch.ones(4, 3), head)
    loss = F.linear_cross_entropy(h, w, torch.full((4,), -100), options=options)
    loss.backward()
    assert loss.isnan()
    assert h.grad.isnan().all()
    assert w.grad.isnan().all()

    hidden = torch.ones(4, 3)
    hidden[1] = NAN
    targets = torch.tensor([1, -100, 2, 3])
    h, w = leaves(hidden, head)
    F.linear_cross_entropy(h, w, targets, options=options).backward()
    assert w.grad.isnan().any()

    h, w = leaves(hidden, head)
    loss = linear_masked_cross_entropy(h, w, targets, chunk_size=2).loss
    loss.backward()
    keep = targets != -100
    g, v = leaves(hidden[keep], head)
    expected = F.cross_entropy(g @ v.T, targets[keep])
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(h.grad[keep], g.grad)
    torch.testing.assert_close(w.grad, v.grad)
    assert not h.grad[1].any()


@pytest.mark.parametrize("chosen", range(8))
def test_any_subset_may_require_a_gradient(chosen):
    hidden, head, bias, targets, weights = case(4)
    inputs = [x.requires_grad_(bool(chosen >> i & 1)) for i, x in enumerate((hidden, head, bias))]
    for reduction in ("token_mean", "none"):
        loss = linear_masked_cross_entropy(
            inputs[0], inputs[1], targets, weights, bias=inputs[2], reduction=reduction
        ).loss.sum()
        assert loss.requires_grad == bool(chosen)
        asked = [x for x in inputs if x.requires_grad]
        if not asked:
            continue
        plain = masked_cross_entropy(inputs[0] @ inputs[1].T + inputs[2], targets, weights, reduction=reduction)
        expected = torch.autograd.grad(plain.loss.sum(), asked)
        for got, right in zip(torch.autograd.grad(loss, asked), expected, strict=True):
            torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)


def test_no_gradient_is_made_where_none_is_asked(monkeypatch):
    hidden, head, bias, targets, _ = case(5)
    made = []
    monkeypatch.setattr(torch.Tensor, "addmm_", lambda *_: made.append(1), raising=False)
    with torch.no_grad():
        out = linear_masked_cross_entropy(hidden.requires_grad_(), head.requires_grad_(), targets, bias=bias)
    assert not out.loss.requires_grad
    assert not made


@pytest.mark.parametrize("reduction", ["token_mean", "none"])
def test_a_retained_graph_gives_the_same_gradient_again(reduction):
    hidden, head, _, targets, weights = case(6)
    h, w = leaves(hidden, head)
    loss = linear_masked_cross_entropy(h, w, targets, weights, reduction=reduction).loss.sum()
    first = torch.autograd.grad(loss, (h, w), retain_graph=True)
    second = torch.autograd.grad(3 * loss, (h, w))
    for one, three in zip(first, second, strict=True):
        torch.testing.assert_close(3 * one, three, rtol=1e-12, atol=1e-12)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(loss, (h, w))


@pytest.mark.parametrize("reduction", ["token_mean", "none"])
@pytest.mark.parametrize("linear", [False, True])
def test_a_gradient_of_the_gradient_is_refused(reduction, linear):
    hidden, head, _, targets, _ = case(7)
    h, w = leaves(hidden, head)
    if linear:
        out = linear_masked_cross_entropy(h, w, targets, reduction=reduction)
    else:
        out = masked_cross_entropy(h @ w.T, targets, reduction=reduction)
    with pytest.raises(ArgumentError, match="got create_graph=True"):
        torch.autograd.grad(out.loss.sum(), h, create_graph=True)


def test_an_infinite_loss_scale_leaves_unscored_rows_at_zero():
    hidden, head, _, targets, _ = case(8, dtype=torch.float16)
    (h,) = leaves(hidden)
    (linear_masked_cross_entropy(h, head, targets).loss * float("inf")).backward()
    assert not h.grad[targets == -100].any()


def test_float32_under_autocast():
    hidden, head, bias, targets, _ = case(9, width=64, dtype=torch.float32)
    h, w = leaves(hidden, head)
    expected = linear_masked_cross_entropy(h, w, targets, bias=bias)
    expected.loss.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        g, v = leaves(hidden, head)
        out = linear_masked_cross_entropy(g, v, targets, bias=bias)
        out.loss.backward()
    assert torch.equal(out.loss, expected.loss)
    assert torch.equal(g.grad, h.grad)
    assert torch.equal(v.grad, w.grad)
    mixed = linear_masked_cross_entropy(hidden.bfloat16(), head, targets).loss
    assert mixed.dtype == torch.float32


@pytest.mark.parametrize("linear", [False, True])
def test_compiles_with_one_graph_break(linear):
    hidden, head, _, targets, weights = case(10)

    def step(h, w, t, c):
        h = h * 2
        out = linear_masked_cross_entropy(h, w, t, c) if linear else masked_cross_entropy(h @ w.T, t, c)
        return out.loss * 3

    h, w = leaves(hidden, head)
    expected = step(h, w, targets, weights)
    expected.backward()
    torch._dynamo.reset()
    breaks = torch._dynamo.utils.counters["graph_break"]
    breaks.clear()
    g, v = leaves(hidden, head)
    compiled = torch.compile(step, backend="aot_eager")
    got = compiled(g, v, targets, weights)
    got.backward()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(g.grad, h.grad)
    torch.testing.assert_close(v.grad, w.grad)
    assert sum(breaks.values()) == 1


def test_never_more_than_the_chunk_of_logits(monkeypatch):
    hidden, head, bias, targets, weights = case(11, (50,), vocabulary=11)
    seen = []
    monkeypatch.setattr(torch, "addmm", spy(torch.addmm, seen))
    sizes = ((8, 8), (np.int64(8), 8), (np.int32(8), 8), (torch.tensor(8), 8), (1000, 50), ("auto", 50))
    for chunk_size, rows in sizes:
        seen.clear()
        linear_masked_cross_entropy(hidden, head, targets, weights, bias=bias, chunk_size=chunk_size)
        assert max(seen) <= rows
        assert sum(seen) == int(((targets != -100) & (weights > 0)).sum())  # only scored rows meet the head


def spy(function, rows):
    def watched(bias, left, right, *, out):
        rows.append(len(left))
        return function(bias, left, right, out=out)

    return watched


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lm_head_weight": torch.zeros(3, 7)},
            r"of shape \(V, 3\), as in nn.Linear, got .* \(3, 7\); transpose",
        ),
        ({"lm_head_weight": torch.zeros(7, 3, dtype=torch.long)}, "lm_head_weight must be floats"),
        ({"lm_head_weight": torch.nn.Linear(3, 7)}, "lm_head_weight must be a tensor, got Linear"),
        ({"bias": torch.zeros(3)}, r"bias must be floats of shape \(7,\)"),
        ({"hidden": torch.zeros(1, 2, 3, dtype=torch.long)}, "hidden must be floats"),
        ({"targets": torch.zeros(2, 1, dtype=torch.long)}, r"hidden states' shape .* \(1, 2\), got \(2, 1\)"),
        ({"targets": torch.zeros(1, 2)}, "targets must be integers, got torch.float32"),
        ({"targets": torch.tensor([[0, 7]])}, r"targets must lie in \[0, 7\) or be -100, got 7 at \[0, 1\]"),
        ({"weights": torch.tensor([[1.0, -2.0]])}, r"at least 0, got -2.0 at \[0, 1\]"),
        ({"weights": torch.tensor([[NAN, 1.0]])}, r"got nan at \[0, 0\]"),
        ({"chunk_size": 0}, "chunk_size must be 'auto' or at least 1 row, got 0"),
        ({"chunk_size": True}, "chunk_size must be 'auto' or at least 1 row, got True"),
        ({"chunk_size": 2.0}, "chunk_size must be 'auto' or at least 1 row, got 2.0"),
        ({"chunk_size": "3"}, "chunk_size must be 'auto' or at least 1 row, got '3'"),
        ({"chunk_size": None}, "chunk_size must be 'auto' or at least 1 row, got None"),
        ({"chunk_size": np.bool_(True)}, "chunk_size must be 'auto' or at least 1 row, got "),
        ({"label_smoothing": -0.1}, "label_smoothing must lie"),
        ({"z_loss": NAN}, "z_loss must be finite"),
        ({"reduction": "none", "denominator": 3}, "reduction 'none' divides by nothing"),
    ],
)
def test_refuses(change, message):
    arguments = {
        "hidden": torch.zeros(1, 2, 3),
        "lm_head_weight": torch.zeros(7, 3),
        "targets": torch.tensor([[0, 1]]),
    }
    with pytest.raises(ArgumentError, match=message) as caught:
        linear_masked_cross_entropy(**(arguments | change))
    assert "\n" not in str(caught.value)
