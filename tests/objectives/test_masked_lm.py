"""`MaskedLM` position by position, its distributions by chi-squared tests, and beside transformers' collator."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.chi_squared import chi_squared_p, same_distribution_p
from maskwork.data import PackedRow, Reason
from maskwork.errors import ArgumentError, CannotExpress
from maskwork.objectives import IGNORED, MaskedLM, collate, masked_cross_entropy, pad

MASK, VOCAB, SPECIAL = 4, 50, (0, 1, 2)
tokens_of = st.lists(st.integers(0, VOCAB - 1), max_size=20)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def check_by_hand(example, tokens, labels, weights):
    """Every position by its reason, in a loop; returns how many are chosen."""
    chosen = 0
    for i, token in enumerate(tokens):
        reason, read = Reason(example.reasons[i]), int(example.tokens[i])
        special = token == MASK or token in SPECIAL
        assert (reason == Reason.SPECIAL) == special
        if not special:
            assert (reason == Reason.MISSING_LABEL) == (labels[i] == IGNORED)
        if reason in (Reason.MASKED, Reason.RANDOM, Reason.KEPT):
            chosen += 1
            assert (example.targets[i], example.weights[i]) == (labels[i], weights[i])
            assert labels[i] != IGNORED
            assert weights[i] > 0
        else:
            assert (example.targets[i], example.weights[i], read) == (IGNORED, 0, token)
        if reason == Reason.MASKED:
            assert read == MASK
        elif reason == Reason.RANDOM:
            assert 0 <= read < VOCAB
            assert read != MASK
            assert read not in SPECIAL
        else:
            assert read == token
    return chosen


@given(tokens_of, st.floats(0, 1), st.integers(0, 5), st.integers(0, 99), st.data())
def test_every_position_is_what_its_reason_says(tokens, rate, min_targets, seed, data):
    labels = [data.draw(st.sampled_from([token, IGNORED, 7])) for token in tokens]
    weights = [data.draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in tokens]
    objective = MaskedLM(MASK, VOCAB, SPECIAL, rate, (0.4, 0.3, 0.3), min_targets=min_targets)
    example = objective.example(tokens, seeded(seed), labels=labels, weights=weights)
    chosen = check_by_hand(example, tokens, labels, weights)
    candidates = sum(
        token not in (MASK, *SPECIAL) and label != IGNORED and weight > 0
        for token, label, weight in zip(tokens, labels, weights, strict=True)
    )
    assert min(min_targets, candidates) <= chosen <= candidates
    if rate == 1:
        assert chosen == candidates


@pytest.mark.parametrize("tokens", [[], [0], [5], [0, 1], [5, 0], [MASK]])
def test_the_shortest_documents(tokens):
    example = MaskedLM(MASK, VOCAB, SPECIAL).example(tokens, seeded())
    assert check_by_hand(example, tokens, tokens, [1.0] * len(tokens)) == (5 in tokens)
    assert len(example) == len(tokens)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(0, 99), st.booleans(), st.integers(0, 6))
def test_whole_words_are_chosen_whole(sizes, seed, by_ids, min_targets):
    words = np.repeat(np.arange(len(sizes)), sizes)
    tokens = np.full(len(words), 9)
    starts = np.diff(words, prepend=-1) > 0
    settings = {"rate": 0.3, "min_targets": min_targets}
    if by_ids:
        example = MaskedLM(MASK, VOCAB, **settings).example(tokens, seeded(seed), word_ids=words.tolist())
    else:
        example = MaskedLM(MASK, VOCAB, whole_word=lambda _: starts, **settings).example(tokens, seeded(seed))
    chosen = example.targets != IGNORED
    for word in range(len(sizes)):
        assert len(set(chosen[words == word])) == 1
    assert chosen.sum() >= min(min_targets, len(tokens))


def test_tokens_of_no_word_are_special():
    example = MaskedLM(MASK, VOCAB, rate=1.0).example([7, 8, 9], seeded(), word_ids=[None, 0, None])
    assert example.targets.tolist() == [IGNORED, 8, IGNORED]
    assert [Reason(reason) == Reason.SPECIAL for reason in example.reasons] == [True, False, True]


def test_the_number_chosen_is_binomial():
    objective = MaskedLM(MASK, VOCAB, rate=0.15, min_targets=0)
    generator = seeded(1)
    counts = [int((objective.example([9] * 20, generator).targets != IGNORED).sum()) for _ in range(2000)]
    observed = np.bincount(np.minimum(counts, 7), minlength=8)
    binomial = np.array([math.comb(20, k) * 0.15**k * 0.85 ** (20 - k) for k in range(21)])
    expected = 2000 * np.append(binomial[:7], binomial[7:].sum())
    assert chi_squared_p(observed, expected) > 0.01


def test_replacements_and_their_tokens_have_the_stated_probabilities():
    example = MaskedLM(MASK, VOCAB, SPECIAL, rate=1.0).example([9] * 40_000, seeded(2))
    reasons = np.bincount(example.reasons, minlength=11)[[Reason.MASKED, Reason.RANDOM, Reason.KEPT]]
    assert chi_squared_p(reasons, 40_000 * np.array([0.8, 0.1, 0.1])) > 0.01
    drawn = np.bincount(example.tokens[example.reasons == Reason.RANDOM], minlength=VOCAB)
    ordinary = np.setdiff1d(np.arange(VOCAB), [MASK, *SPECIAL])
    assert drawn.sum() == drawn[ordinary].sum()
    assert chi_squared_p(drawn[ordinary], np.full(len(ordinary), drawn.sum() / len(ordinary))) > 0.01


@pytest.fixture(scope="module")
def hf_tokenizer():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *(f"w{i}" for i in range(995))]
    backend = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    special = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{name}_token": token for name, token in special.items()}
    )


def test_chooses_as_transformers_collator_does(hf_tokenizer):
    from transformers import DataCollatorForLanguageModeling

    text = np.random.default_rng(3).integers(5, 1000, size=(1200, 30))
    text[:, 0], text[:, -1] = 1, 2
    theirs = DataCollatorForLanguageModeling(hf_tokenizer, mlm_probability=0.15, seed=4)(text.tolist())
    ours = MaskedLM(4, 1000, (0, 1, 2, 3), min_targets=0)(text.tolist(), seeded(5))
    original = torch.from_numpy(text)

    def kinds(read, labels):
        chosen = labels != IGNORED
        assert not chosen[:, [0, -1]].any()
        masked, same = read == 4, read == original
        return [int(n.sum()) for n in (~chosen, chosen & masked, chosen & same, chosen & ~masked & ~same)]

    def places(labels):
        return (labels != IGNORED)[:, 1:-1].sum(dim=0).tolist()

    def numbers(labels):
        return np.bincount((labels != IGNORED).sum(dim=1).clamp(1, 8).numpy(), minlength=9)[1:]

    pairs = (kinds(theirs["input_ids"], theirs["labels"]), kinds(ours.input_ids, ours.targets))
    assert same_distribution_p(*pairs) > 0.01
    assert same_distribution_p(places(theirs["labels"]), places(ours.targets)) > 0.01
    assert same_distribution_p(numbers(theirs["labels"]), numbers(ours.targets)) > 0.01


def test_the_chi_squared_test_sees_a_wrong_rate():
    generator = seeded(6)
    counts = [
        np.bincount(MaskedLM(MASK, VOCAB, rate=rate).example([9] * 20_000, generator).targets == 9, minlength=2)
        for rate in (0.15, 0.17)
    ]
    assert same_distribution_p(*counts) < 1e-4


def test_the_batch_is_its_examples_and_the_generator_decides():
    documents = [[5, 6, 7, 8, 9], [9, 8], [7]]
    objective = MaskedLM(MASK, VOCAB, rate=0.5)
    batch, again = objective(documents, seeded(7)), objective(documents, seeded(7))
    generator = seeded(7)
    made = collate(pad([objective.example(document, generator) for document in documents]))
    for name in ("input_ids", "targets", "weights", "reasons"):
        assert torch.equal(getattr(batch, name), getattr(again, name))
        assert torch.equal(getattr(batch, name), getattr(made, name))
    others = [objective(documents, seeded(seed)).input_ids for seed in range(8, 16)]
    assert any(not torch.equal(batch.input_ids, other) for other in others)


def test_packed_documents_are_masked_alone_and_see_only_themselves():
    rows = [PackedRow(np.array([5, 6, 7, 8, 0, 0]), (3, 1, 2), 2), PackedRow(np.arange(5, 11), (6,), 0)]
    batch = MaskedLM(MASK, VOCAB, rate=0.0, min_targets=1)(rows, seeded(8))
    for b, documents in enumerate(([0, 0, 0, 1, -1, -1], [0] * 6)):
        assert batch.document_ids[b].tolist() == documents
        for number in set(documents) - {-1}:
            here = batch.document_ids[b] == number
            assert batch.scored[b][here].sum() == 1
        same = np.equal.outer(documents, documents)
        assert (batch.mask.bind(6, batch=2).dense()[b, 0] == same).all()
    assert not batch.scored[batch.document_ids == -1].any()


def test_transformers_gets_labels_that_are_not_shifted(hf_tokenizer):
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = BertForMaskedLM(config).eval()
    rows = [PackedRow(np.arange(5, 11), (3, 3), 0), PackedRow(np.array([9, 8, 7, 6, 0, 0]), (4, 2), 2)]
    batch = MaskedLM(MASK, VOCAB, rate=0.6)(rows, seeded(9))
    assert batch.n_targets > 3
    with torch.no_grad():
        out = model(**batch.to_hf(shifts_labels=False))
    ours = masked_cross_entropy(out.logits, batch.targets, batch.weights).loss
    torch.testing.assert_close(ours, out.loss)
    with pytest.raises(CannotExpress, match="pass shifts_labels=False"):
        batch.to_hf()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_token": 50}, "got mask_token 50 with vocab_size 50"),
        ({"mask_token": -1}, "mask_token must be at least 0, got -1"),
        ({"special_tokens": [0, 1.5]}, "got 1.5"),
        ({"rate": 15}, r"rate is a share, in \[0, 1\], got 15"),
        ({"rate": float("nan")}, "got nan"),
        ({"replace": (0.8, 0.1, 0.2)}, "which sum to 1"),
        ({"replace": (0.8, 0.2)}, "which sum to 1"),
        ({"special_tokens": range(50)}, "got none among 50"),
    ],
)
def test_refuses_settings_that_break_a_rule(settings, message):
    with pytest.raises(ArgumentError, match=message):
        MaskedLM(**{"mask_token": MASK, "vocab_size": VOCAB, **settings})


def test_refuses_arguments_that_break_a_rule():
    objective = MaskedLM(MASK, VOCAB)
    with pytest.raises(ArgumentError, match="explicit generator"):
        objective([[5, 6]])
    with pytest.raises(ArgumentError, match=r"vocab_size = 50\), got 50"):
        objective([[5, 50]], seeded())
    with pytest.raises(ArgumentError, match="one label for each of 2, got 1"):
        objective.example([5, 6], seeded(), labels=[5])
    with pytest.raises(ArgumentError, match=r"or None or -100 .* got -1 as label 1"):
        objective.example([5, 6], seeded(), labels=[5, -1])
    with pytest.raises(ArgumentError, match="word_ids are integers"):
        objective.example([5, 6], seeded(), word_ids=[0, 0, 1])
    with pytest.raises(ArgumentError, match="one weight for each of 2"):
        objective.example([5, 6], seeded(), weights=[1.0])
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="weights are finite"):
            MaskedLM(MASK, VOCAB, rate=0.0, min_targets=0).example([5, 6], seeded(), weights=[1.0, bad])


@pytest.mark.parametrize("settings", [{"min_targets": -1}, {"min_targets": 1.5}, {"vocab_size": 10.0}])
def test_a_number_of_tokens_is_whole(settings):
    with pytest.raises(ArgumentError, match=r"(min_targets|vocab_size) must be"):
        MaskedLM(**{"mask_token": 9, "vocab_size": 10, **settings})


def test_the_second_text_of_a_pair_has_words_of_its_own():
    objective = MaskedLM(90, 91, rate=0.5, min_targets=0)
    generator = torch.Generator().manual_seed(0)
    words = [0, 0, None, 0, 0]
    chosen = {
        tuple((objective.example([5, 6, 1, 7, 8], generator, word_ids=words).targets >= 0).tolist()) for _ in range(50)
    }
    first, second = (True, True, False, False, False), (False, False, False, True, True)
    assert chosen == {first, second, (False,) * 5, (True, True, False, True, True)}
