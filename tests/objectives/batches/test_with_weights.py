"""`with_weights` against a loop, on examples and on batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwork.errors import ArgumentError
from maskwork.objectives import (
    IGNORED,
    CausalLM,
    Reason,
    SequenceClassification,
    SequenceToSequence,
    TokenTagging,
    collate,
    masked_cross_entropy,
    pad,
    with_weights,
)

LABELS = st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=6)
FACTOR = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])


@given(LABELS, st.data(), st.sampled_from(["right", "left"]))
def test_equals_the_loop(labels, data, side):
    n = len(labels)
    own = data.draw(st.lists(FACTOR, min_size=n, max_size=n))
    factors = data.draw(st.lists(FACTOR, min_size=n, max_size=n))
    example = TokenTagging().example((list(range(n)), labels, own))
    expected = []
    for place in range(n):
        weight, reason = example.weights[place] * factors[place], example.reasons[place]
        if example.weights[place] and not weight:
            reason = Reason.REDACTED
        expected.append((labels[place] if weight else IGNORED, weight, reason))
    new = with_weights(example, factors, Reason.REDACTED)
    assert list(zip(new.targets.tolist(), new.weights.tolist(), new.reasons.tolist(), strict=True)) == expected
    assert new.mask == example.mask

    # A batch of it, padded, gives the same; the weights of padding aren't read.
    batch = collate(pad([example, TokenTagging().example(([1] * 7, [None] * 7))], side=side))
    inside = batch.document_ids[0] >= 0
    spread = torch.full(batch.targets.shape, float("nan"))
    spread[0, inside] = torch.tensor(factors)
    weighed = with_weights(batch, spread, Reason.REDACTED)
    got = zip(*(getattr(weighed, name)[0, inside].tolist() for name in ("targets", "weights", "reasons")), strict=True)
    assert list(got) == expected
    assert (weighed.reasons[0, ~inside] == Reason.PADDING).all()
    assert (weighed.targets[1] == IGNORED).all()
    assert weighed.n_targets == sum(weight > 0 for _, weight, _ in expected)


def test_sequences_have_weights_too():
    batch = SequenceClassification(read="mean")([([1], 0), ([2], 1), ([3], None)])
    new = with_weights(batch, [0.5, False, float("nan")], Reason.REDACTED)
    assert new.targets.tolist() == [0, IGNORED, IGNORED]
    assert new.weights.tolist() == [0.5, 0, 0]
    assert new.reasons.tolist() == [Reason.SCORED, Reason.REDACTED, Reason.MISSING_LABEL]
    assert new.read == "mean"


def test_agreement_weighs_the_loss():
    logits = torch.randn(1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = with_weights(TokenTagging()([([5, 6, 7], [0, 1, 2])]), [[1.0, 0.5, 0.0]])
    losses = torch.nn.functional.cross_entropy(logits[0], torch.tensor([0, 1, 2]), reduction="none")
    loss = masked_cross_entropy(logits, batch.targets, batch.weights).loss
    torch.testing.assert_close(loss, (losses[0] + 0.5 * losses[1]) / 1.5, rtol=1e-12, atol=0)


def test_arrays_that_cannot_be_written_stay_as_they_are():
    example = CausalLM().example([5, 6, 7])
    for name in ("targets", "weights", "reasons"):
        getattr(example, name).flags.writeable = False
    factors = np.array([0.0, 1.0, 1.0])
    factors.flags.writeable = False
    new = with_weights(example, factors)
    assert new.targets.tolist() == [IGNORED, 7, IGNORED]
    assert example.targets.tolist() == [6, 7, IGNORED]
    assert new.reasons.tolist() == [Reason.ZERO_WEIGHT, Reason.SCORED, Reason.DOCUMENT_END]


def test_a_batch_without_reasons():
    from dataclasses import replace

    batch = replace(CausalLM()([[5, 6, 7]]), reasons=None)
    new = with_weights(batch, [[0, 1, 1]])
    assert new.reasons is None
    assert new.targets.tolist() == [[IGNORED, 7, IGNORED]]


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), 3e38])
def test_refuses_weights_that_are_none(wrong):
    batch = with_weights(CausalLM()([[5, 6, 7]]), [[2.0, 2.0, 2.0]])
    with pytest.raises(ArgumentError, match="finite and at least 0"):
        with_weights(batch, [[1.0, wrong, 1.0]])
    # The last position predicts nothing.
    assert with_weights(batch, [[1.0, 1.0, wrong]]).weights.tolist() == [[2, 2, 0]]


def test_refuses_other_shapes():
    with pytest.raises(ArgumentError, match=r"\(1, 3\), got \(3,\)"):
        with_weights(CausalLM()([[5, 6, 7]]), [1.0, 1.0, 1.0])
    with pytest.raises(ArgumentError, match=r"\(3,\), got \(2,\)"):
        with_weights(CausalLM().example([5, 6, 7]), [1.0, 1.0])


def test_an_encoder_decoder_is_weighed_at_its_targets():
    batch = SequenceToSequence(decoder_start=0)([([5, 6, 7], [8, 9]), ([5], [6])])
    new = with_weights(batch, [[0.5, 0.0], [1.0, 1.0]], Reason.REDACTED)
    assert new.targets.tolist() == [[8, IGNORED], [6, IGNORED]]
    assert new.weights.tolist() == [[0.5, 0.0], [1.0, 0.0]]
    assert new.reasons.tolist() == [[Reason.SCORED, Reason.REDACTED], [Reason.SCORED, Reason.PADDING]]
    assert torch.equal(new.decoder_input_ids, batch.decoder_input_ids)
    assert new.cross_mask == batch.cross_mask
    with pytest.raises(ArgumentError, match=r"targets' shape \(2, 2\), got \(2, 3\)"):
        with_weights(batch, torch.ones(2, 3))
