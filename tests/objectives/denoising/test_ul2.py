"""`UL2`: every document is what one of its denoisers makes of it, in both forms, with the stated probabilities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.chi_squared import chi_squared_p
from maskwork.data import Reason
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, UL2, Batch, Denoiser, Seq2SeqBatch, SpanCorruption, collate, pad

START, END = 0, 1
SENTINELS = tuple(range(199, 99, -1))
R, X, S = 50, 51, 52


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture(decoder_start=START, denoisers=None):
    return UL2(denoisers or UL2.published(R, X, S), SENTINELS, decoder_start, END)


def restored(inputs, targets):
    """The document that a corrupted pair was made of."""
    spans, held = {}, None
    for token in targets:
        if token in SENTINELS:
            held = spans.setdefault(token, [])
        else:
            held.append(token)
    return [out for token in inputs for out in (spans[token] if token in SENTINELS else [token])]


@given(st.lists(st.integers(2, 40), min_size=2, max_size=80), st.integers(0, 99))
def test_both_forms_hold_the_document_and_say_its_mode(tokens, seed):
    pair = mixture().example(tokens, seeded(seed))
    source, target = pair.source.tokens.tolist(), pair.target.targets.tolist()
    assert source[0] in (R, X, S)
    assert source[-1] == target[-1] == END
    assert restored(source[1:-1], target[:-1]) == tokens
    if source[0] == S:  # the last quarter, after one sentinel
        count = min(max(round(len(tokens) * 0.25), 1), len(tokens) - 1)
        assert target == [SENTINELS[0], *tokens[-count:], END]

    alone = mixture(decoder_start=None).example(tokens, seeded(seed))
    given = len(source) - 1  # the encoder's end token is not there
    assert alone.tokens.tolist() == source[:-1] + target
    for i in range(len(alone)):
        scored = given - 1 <= i < len(alone) - 1
        assert alone.targets[i] == (alone.tokens[i + 1] if scored else IGNORED)
        assert (alone.reasons[i] == Reason.SCORED) == scored
    dense = alone.mask.bind(len(alone)).dense()[0, 0]
    q, k = np.indices(dense.shape)
    assert (dense == ((k <= q) | (k < given))).all()


def test_denoisers_are_drawn_with_their_probabilities():
    parts = (Denoiser(0.15, 3, R, 2), Denoiser(0.5, 8, X, 3), Denoiser(0.25, None, S, 5), Denoiser(0.5, 3, 53, 0))
    objective, generator = mixture(denoisers=parts), seeded(1)
    modes = [int(objective.example(range(2, 10), generator).source.tokens[0]) for _ in range(2000)]
    assert chi_squared_p([modes.count(mode) for mode in (R, X, S)], [400, 600, 1000]) > 0.01
    assert 53 not in modes


def test_one_denoiser_without_a_mode_is_span_corruption():
    pair = mixture(denoisers=[Denoiser(0.15, 3)]).example(range(2, 80), seeded(2))
    lengths = SpanCorruption(SENTINELS, START, END).lengths(78)
    assert (len(pair.source), len(pair.target)) == lengths


def test_the_published_mixture():
    parts = UL2.published(R, X, S)
    assert [(part.mode_token, part.mean_span, part.rate) for part in parts] == [
        (R, 3, 0.15), (R, 8, 0.15), (X, 3, 0.5), (X, 8, 0.5), (X, 64, 0.15), (X, 64, 0.5), (S, None, 0.25),
    ]  # fmt: skip
    assert len({part.probability for part in parts}) == 1


def test_the_batch_is_its_examples_and_the_generator_decides():
    documents = [list(range(2, 30)), list(range(5, 12)), [3], []]
    pairs = mixture()(documents, seeded(3))
    alone = mixture(decoder_start=None)(documents, seeded(3))
    assert isinstance(pairs, Seq2SeqBatch)
    assert isinstance(alone, Batch)
    objective, generator = mixture(decoder_start=None), seeded(3)
    made = collate(pad([objective.example(document, generator) for document in documents]))
    assert torch.equal(alone.targets, made.targets)
    assert alone.mask == made.mask
    assert torch.equal(pairs.input_ids, mixture()(documents, seeded(3)).input_ids)
    assert any(not torch.equal(pairs.input_ids, mixture()(documents, seeded(s)).input_ids) for s in range(4, 8))


def test_errors():
    with pytest.raises(ArgumentError, match="got 0, none of which can be drawn"):
        UL2([], SENTINELS, START, END)
    with pytest.raises(ArgumentError, match="got 1, none of which can be drawn"):
        mixture(denoisers=[Denoiser(0.5, 3, probability=0)])
    with pytest.raises(ArgumentError, match="reverse them"):
        UL2(UL2.published(R, X, S), SENTINELS[::-1], START, END)
    with pytest.raises(ArgumentError, match="got 51 at position 1"):
        mixture().example([5, X, 6], seeded())
    with pytest.raises(ArgumentError, match="explicit generator"):
        mixture()([[5, 6]])
    with pytest.raises(ArgumentError, match=r"got 1\.5"):
        Denoiser(1.5, 3)
    with pytest.raises(ArgumentError, match=r"a mean length of 0\.5"):
        Denoiser(0.5, 0.5)
    with pytest.raises(ArgumentError, match="got -1"):
        Denoiser(0.5, 3, probability=-1)
    with pytest.raises(ArgumentError, match="mode_token must be at least 0"):
        Denoiser(0.5, 3, mode_token=-1)
