"""`PrefixLM` against a loop, its mask against the dense definition, its random split by a chi-squared test."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.chi_squared import chi_squared_p
from maskwork.data import PackedRow, Reason
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, PrefixLM, collate, pad


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(tokens, split, weights):
    """(targets, weights, reasons), position by position."""
    targets, worths, reasons = [], [], []
    for i in range(len(tokens)):
        target, worth = IGNORED, 0.0
        if i == len(tokens) - 1:
            reason = Reason.DOCUMENT_END
        elif i + 1 < split:  # it would predict a token of the prefix
            reason = Reason.CONTEXT
        elif weights[i + 1] == 0:
            reason = Reason.ZERO_WEIGHT
        else:
            reason, target, worth = Reason.SCORED, tokens[i + 1], weights[i + 1]
        targets.append(target)
        worths.append(worth)
        reasons.append(reason)
    return targets, worths, reasons


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(0, 12), st.data())
def test_equals_the_loop(tokens, split, data):
    weights = [data.draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in tokens]
    example = PrefixLM(split=split).example(tokens, weights=weights)
    targets, worths, reasons = by_hand(tokens, split, weights)
    assert example.tokens.tolist() == tokens
    assert example.targets.tolist() == targets
    assert example.weights.tolist() == worths
    assert example.reasons.tolist() == reasons


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 7)), min_size=1, max_size=4))
def test_the_mask_is_the_definition_in_every_document(documents):
    lengths, splits = zip(*documents, strict=True)
    numbers = iter(splits)
    row = PackedRow(np.zeros(sum(lengths), dtype=np.int64), lengths, 0)
    dense = PrefixLM(split=lambda _: next(numbers))([row]).mask.bind(sum(lengths)).dense()[0, 0]
    place = [(d, i) for d, length in enumerate(lengths) for i in range(length)]
    for q, (q_document, q_place) in enumerate(place):
        for k, (k_document, k_place) in enumerate(place):
            seen = q_document == k_document and (k_place <= q_place or k_place < splits[q_document])
            assert dense[q, k] == seen


def test_a_target_is_never_seen_by_the_position_that_predicts_it():
    batch = PrefixLM()([list(range(10)), [3, 4], [5]], seeded())
    dense = np.broadcast_to(batch.mask.bind(10, batch=3).dense(), (3, 1, 10, 10))
    for b, i in batch.scored.nonzero().tolist():
        assert not dense[b, 0, i, i + 1]
    assert batch.n_targets > 1


def test_a_random_split_is_even():
    generator, objective = seeded(1), PrefixLM()
    scored = [int((objective.example(range(9), generator).targets != IGNORED).sum()) for _ in range(2000)]
    counts = np.bincount(scored, minlength=9)
    assert counts[0] == 0
    assert chi_squared_p(counts[1:], np.full(8, 250)) > 0.01


@pytest.mark.parametrize(
    ("split", "prefix"), [(0.5, 4), (1.0, 8), (0.0, 0), (3, 3), (20, 8), (lambda t: len(t) - 1, 7)]
)
def test_splits_that_are_given(split, prefix):
    example = PrefixLM(split=split).example(range(8))
    assert (example.targets != IGNORED).sum() == 8 - max(prefix, 1)
    assert PrefixLM(split=5).example(range(8), split=6).targets.tolist()[5:] == [6, 7, IGNORED]


def test_the_generator_decides_and_the_batch_is_its_examples():
    documents = [list(range(9)), [1, 2, 3]]
    batch, generator = PrefixLM()(documents, seeded(3)), seeded(3)
    made = collate(pad([PrefixLM().example(document, generator) for document in documents]))
    assert torch.equal(batch.targets, made.targets)
    assert batch.mask == made.mask
    assert any(not torch.equal(batch.targets, PrefixLM()(documents, seeded(s)).targets) for s in range(4, 9))


def test_errors():
    with pytest.raises(ArgumentError, match="explicit generator, got none"):
        PrefixLM()([[1, 2, 3]])
    with pytest.raises(ArgumentError, match="explicit generator, got int"):
        PrefixLM()([[1, 2, 3]], 0)
    with pytest.raises(ArgumentError, match='split must be "random"'):
        PrefixLM(split="half")
    with pytest.raises(ArgumentError, match="a float split is a share"):
        PrefixLM(split=1.5)
    with pytest.raises(ArgumentError, match="at least 0, got -1"):
        PrefixLM(split=-1).example([1, 2])
    with pytest.raises(ArgumentError, match="at least 0, got -2"):
        PrefixLM().example([1, 2], split=-2)


@pytest.mark.parametrize("split", [np.float32(0.5), True, lambda tokens: 2.5, -1])
def test_a_split_that_is_no_number_of_tokens_is_refused(split):
    with pytest.raises(ArgumentError, match=r"split(\(tokens\))? must be"):
        PrefixLM(split=split)([[5, 6, 7, 8]])
