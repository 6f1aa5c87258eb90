"""`SentencePair`: every pair is what its target says, and the batch is what a loop makes of the pairs."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, Example, MaskedLM, Reason, SentencePair, TextPair

CLS, SEP = 1, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def documents(draw):
    """No token twice, so that each tells where it comes from."""
    counter, out = 10, []
    for _ in range(draw(st.integers(2, 4))):
        lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
        document = []
        for n in lengths:
            document.append(list(range(counter, counter + n)))
            counter += n
        out.append(document)
        counter += 1
    return out


@given(documents(), st.integers(5, 20), st.integers(0, 99), st.sampled_from([0.0, 0.1, 1.0]))
def test_pairs_are_what_they_say(given_documents, max_len, seed, short):
    home = {token: d for d, document in enumerate(given_documents) for sentence in document for token in sentence}
    objective = SentencePair(CLS, SEP, max_len, short=short)
    pairs = objective.pairs(given_documents, seeded(seed))
    used = []
    for pair in pairs:
        first, second = list(pair.first), list(pair.second)
        assert first
        assert second
        # Each text is a run of whole sentences of one document.
        for text in (first, second):
            assert text == list(range(text[0], text[0] + len(text)))
            sentences = given_documents[home[text[0]]]
            assert text[0] in {sentence[0] for sentence in sentences}
            assert text[-1] in {sentence[-1] for sentence in sentences}
        if pair.is_next:
            assert second[0] == first[-1] + 1
            assert home[second[0]] == home[first[0]]
        else:
            assert home[second[0]] != home[first[0]]
        used += first + second * pair.is_next
    # Every token of every document stands once in a first text or its true continuation.
    assert used == sorted(home)


def test_half_of_the_pairs_are_random():
    data = [[[100 * d + s] for s in range(40)] for d in range(1, 60)]
    pairs = SentencePair(CLS, SEP, 8, short=0.0).pairs(data, seeded())
    # Each document's last sentence, when it is left alone, has no continuation: those are set aside.
    free = [pair.is_next for pair in pairs if (pair.first[-1] + 1) % 100 != 40]
    # Five standard deviations of a fair coin.
    assert abs(sum(free) - len(free) / 2) < 5 * np.sqrt(len(free)) / 2
    assert len(free) > 400


@st.composite
def drawn_pairs(draw):
    text = st.lists(st.integers(3, 9), min_size=1, max_size=9)
    return [TextPair(draw(text), draw(text), draw(st.booleans())) for _ in range(draw(st.integers(1, 4)))]


def is_piece(part, whole):
    return any(part == whole[at : at + len(part)] for at in range(len(whole) - len(part) + 1))


@given(drawn_pairs(), st.integers(5, 24), st.sampled_from(["right", "left"]), st.integers(0, 9))
def test_the_batch_equals_the_loop(pairs, max_len, side, seed):
    batch = SentencePair(CLS, SEP, max_len, side=side)(pairs, seeded(seed))
    length = batch.input_ids.shape[1]
    assert length == min(max_len, max(len(pair.first) + len(pair.second) + 3 for pair in pairs))
    assert batch.targets.tolist() == [int(pair.is_next) for pair in pairs]
    assert batch.weights.tolist() == [1.0] * len(pairs)
    assert batch.masked is None
    dense = np.broadcast_to(batch.mask.bind(length, batch=len(pairs)).dense(), (len(pairs), 1, length, length))
    for b, (first, second, _) in enumerate(pairs):
        # By hand: the longer text (the second, of two alike) loses one token until both fit.
        n, m = len(first), len(second)
        while n + m > max_len - 3:
            n, m = (n - 1, m) if n > m else (n, m - 1)
        real = batch.real[b]
        assert real.tolist() == ([True] * (n + m + 3) + [False] * (length - n - m - 3))[:: 1 if side == "right" else -1]
        ids = batch.input_ids[b][real].tolist()
        assert (ids[0], ids[n + 1], ids[-1]) == (CLS, SEP, SEP)
        assert is_piece(ids[1 : n + 1], first)
        assert is_piece(ids[n + 2 : -1], second)
        assert batch.segment_ids[b][real].tolist() == [0] * (n + 2) + [1] * (m + 1)
        assert batch.segment_ids[b][~real].sum() == 0
        assert batch.first[b] == real.int().argmax()
        assert (dense[b, 0] == (real[:, None] == real[None]).numpy()).all()
    hidden = torch.nn.functional.one_hot(batch.input_ids).double()
    assert batch.pool(hidden).argmax(-1).tolist() == [CLS] * len(pairs)


def test_truncation_takes_from_both_ends():
    pair = TextPair(list(range(10, 30)), [5], True)
    starts = {
        SentencePair(CLS, SEP, 14)([pair], seeded(seed)).input_ids[0, 1].item() for seed in range(20)
    }  # ten tokens go
    assert min(starts) < 15 < max(starts)
    assert starts <= set(range(10, 21))


def test_the_generator_decides_everything():
    data = [[[3, 4], [5], [6, 7]], [[8], [9, 10]], [[11, 12, 13]]]
    objective = SentencePair(CLS, SEP, 8)

    def run(seed):
        generator = seeded(seed)
        pairs = objective.pairs(data, generator)
        batch = objective(pairs, generator)
        return batch.input_ids.tolist(), batch.targets.tolist()

    assert run(3) == run(3)
    assert len({str(run(seed)) for seed in range(5)}) > 1


@dataclass(frozen=True)
class EveryFourth:
    """Scores every fourth token that isn't special, masked with 0: enough to see that targets stay in place."""

    shorten: bool = False

    def example(self, tokens, generator=None):
        tokens = tokens[self.shorten :]
        chosen = (np.arange(len(tokens)) % 4 == 1) & (tokens != CLS) & (tokens != SEP)
        return Example(
            np.where(chosen, 0, tokens),
            np.where(chosen, tokens, IGNORED),
            chosen.astype(np.float32),
            mw.full(),
            np.where(chosen, Reason.MASKED, Reason.NOT_CHOSEN).astype(np.uint8),
        )


@pytest.mark.parametrize("side", ["right", "left"])
def test_masked_tokens_in_the_same_batch(side):
    pairs = [TextPair([5, 6, 7], [8, 9], True), TextPair([5], [6], False)]
    plain = SentencePair(CLS, SEP, 16, side=side)(pairs, seeded())
    batch = SentencePair(CLS, SEP, 16, masked_lm=EveryFourth(), side=side)(pairs, seeded())
    assert batch.masked.input_ids.equal(batch.input_ids)
    chosen = batch.masked.targets != IGNORED
    assert batch.masked.targets[chosen].tolist() == [5, 8, 5]
    assert torch.where(chosen, batch.masked.targets, batch.input_ids).equal(plain.input_ids)
    assert (batch.input_ids[chosen] == 0).all()
    assert batch.segment_ids.equal(plain.segment_ids)
    assert batch.targets.tolist() == [1, 0]
    moved = batch.to("meta")
    assert moved.masked.targets.device.type == moved.segment_ids.device.type == "meta"


def test_refuses():
    objective = SentencePair(CLS, SEP, 8)
    with pytest.raises(ArgumentError, match="explicit generator"):
        objective([TextPair([1], [2], True)])
    with pytest.raises(ArgumentError, match="explicit generator"):
        objective.pairs([[[1]], [[2]]])
    with pytest.raises(ArgumentError, match="got 1; pass at least two"):
        objective.pairs([[[1]]], seeded())
    with pytest.raises(ArgumentError, match=r"got document 1 of lengths \[\]"):
        objective.pairs([[[1]], []], seeded())
    with pytest.raises(ArgumentError, match=r"got document 1 of lengths \[1, 0\]"):
        objective.pairs([[[1]], [[2], []]], seeded())
    with pytest.raises(ArgumentError, match="got an empty one in pair 1"):
        objective([TextPair([5], [6], True), TextPair([5], [], True)], seeded())
    with pytest.raises(ArgumentError, match="got list as pair 0"):
        objective([[[1], [2], True]], seeded())
    with pytest.raises(ArgumentError, match="at least one example"):
        objective([], seeded())
    with pytest.raises(ArgumentError, match="got 4"):
        SentencePair(CLS, SEP, 4)
    with pytest.raises(ArgumentError, match=r"got 1\.5"):
        SentencePair(CLS, SEP, 8, short=1.5)
    with pytest.raises(ArgumentError, match="keep a pair's length"):
        SentencePair(CLS, SEP, 8, masked_lm=EveryFourth(shorten=True))([TextPair([5], [6], True)], seeded())


def test_a_pairs_own_tokens_must_be_special():
    with pytest.raises(ArgumentError, match="never masked"):
        SentencePair(cls=1, sep=2, max_len=8, masked_lm=MaskedLM(9, 10, special_tokens=(1,)))


@pytest.mark.parametrize(("cls", "first"), [(1, [5, 1]), (1, [2]), (-1, [5]), (1.5, [5])])
def test_a_pairs_own_tokens_are_ids_and_stand_in_no_text(cls, first):
    with pytest.raises(ArgumentError, match="got"):
        SentencePair(cls=cls, sep=2, max_len=8)([(first, [6], True)], torch.Generator())
