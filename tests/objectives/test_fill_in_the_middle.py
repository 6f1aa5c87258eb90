"""`FillInTheMiddle`: what is written can be read back, what is scored is what `loss_on` says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.chi_squared import chi_squared_p
from maskwork.data import Document, Reason, train_tokenizer
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, FillInTheMiddle, collate, pad

PRE, SUF, MID, END = 1090, 1091, 1092, 1093


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(**settings):
    return FillInTheMiddle(PRE, SUF, MID, END, **settings)


def read_back(tokens):
    """(kind, prefix, suffix, middle): SPM reads as PSM with an empty prefix, so that both are called SPM here."""
    tokens = tokens.tolist()
    assert tokens[-1] == END
    if PRE not in tokens:
        return "plain", [], [], tokens[:-1]
    suf, mid = tokens.index(SUF), tokens.index(MID)
    assert tokens[0] == PRE
    assert suf < mid
    if suf == 1:
        return "spm", [], tokens[2:mid], tokens[mid + 1 : -1]
    return "psm", tokens[1:suf], tokens[suf + 1 : mid], tokens[mid + 1 : -1]


@given(st.lists(st.integers(0, 99), max_size=12), st.integers(0, 99))
def test_a_document_is_written_so_that_it_can_be_read_back(tokens, seed):
    _, prefix, suffix, middle = read_back(objective().example(tokens, seeded(seed)).tokens)
    assert prefix + middle + suffix == tokens


def by_hand(tokens, middle, loss_on):
    """(targets, reasons) of a transformed document whose last `middle` + 1 tokens are middle and end."""
    targets, reasons = [], []
    for i in range(len(tokens)):
        if i == len(tokens) - 1:
            target, reason = IGNORED, Reason.DOCUMENT_END
        elif loss_on != "all" and tokens[i + 1] in (PRE, SUF, MID):
            target, reason = IGNORED, Reason.TEMPLATE
        elif loss_on == "middle" and i + 1 < len(tokens) - 1 - middle:
            target, reason = IGNORED, Reason.CONTEXT
        else:
            target, reason = int(tokens[i + 1]), Reason.SCORED
        targets.append(target)
        reasons.append(reason)
    return targets, reasons


@given(st.lists(st.integers(0, 99), max_size=9), st.data(), st.booleans(), st.sampled_from(["all", "text", "middle"]))
def test_scores_what_loss_on_says(tokens, data, spm, loss_on):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(tokens)), min_size=2, max_size=2)))
    example = objective(loss_on=loss_on).example(tokens, cuts=tuple(cuts), spm=spm)
    first, second = cuts
    prefix, middle, suffix = tokens[:first], tokens[first:second], tokens[second:]
    expected = [PRE, SUF, *suffix, MID, *prefix] if spm else [PRE, *prefix, SUF, *suffix, MID]
    assert example.tokens.tolist() == [*expected, *middle, END]
    targets, reasons = by_hand(example.tokens, len(middle), loss_on)
    assert example.targets.tolist() == targets
    assert example.reasons.tolist() == reasons
    assert example.weights.tolist() == [float(target != IGNORED) for target in targets]


@pytest.mark.parametrize("loss_on", ["all", "text", "middle"])
def test_a_document_that_is_not_transformed_is_scored_whole(loss_on):
    example = objective(rate=0.0, loss_on=loss_on).example([5, 6], seeded())
    assert example.tokens.tolist() == [5, 6, END]
    assert example.targets.tolist() == [6, END, IGNORED]


def test_rates_and_cuts_are_as_stated():
    made, generator = objective(rate=0.6, spm_rate=0.25), seeded(1)
    read = [read_back(made.example([7] * 4, generator).tokens) for _ in range(3000)]
    kinds = [kind for kind, *_ in read]
    empty = 1350 * 9 / 25  # PSM whose first cut is at 0
    assert chi_squared_p([kinds.count(k) for k in ("plain", "psm", "spm")], [1200, 1350 - empty, 450 + empty]) > 0.01
    # two even cuts at 5 places, so that (a, b) with a < b comes twice as often as (a, a)
    found = [(len(prefix), len(prefix) + len(middle)) for kind, prefix, _, middle in read if kind == "psm"]
    pairs = [(a, b) for a in range(1, 5) for b in range(a, 5)]
    expected = [len(found) * (1 if a == b else 2) / 16 for a, b in pairs]
    assert chi_squared_p([found.count(pair) for pair in pairs], expected) > 0.01


class Characters:
    """One token per character, after those that it adds."""

    def __init__(self, *added):
        self.added = added

    def encode(self, text):
        return [*self.added, *map(ord, text)]


def test_text_is_cut_between_characters_and_its_parts_are_encoded_alone():
    text = "low lower lowest " * 9
    tokenizer = train_tokenizer([Document("a.txt", text.encode())], vocab_size=260)
    whole = tokenizer.encode("lowest")
    example = objective(tokenizer=tokenizer).example("lowest", cuts=(1, 4))
    kind, *parts = read_back(example.tokens)
    assert kind == "psm"
    assert [tokenizer.decode(part) for part in parts] == ["l", "st", "owe"]
    assert sum(map(len, parts)) > len(whole)  # the cuts fall inside a token
    drawn = objective(tokenizer=Characters(), rate=1.0, spm_rate=0.0).example("ähnlich 文字", seeded(2))
    _, prefix, suffix, middle = read_back(drawn.tokens)
    assert "".join(map(chr, prefix + middle + suffix)) == "ähnlich 文字"


def test_the_shortest_texts():
    made = objective(tokenizer=Characters(), rate=1.0, spm_rate=0.0)
    assert made.example("", seeded()).tokens.tolist() == [PRE, SUF, MID, END]
    assert objective(rate=0.0).example([], seeded()).tokens.tolist() == [END]
    assert made.example("a", seeded()).tokens.tolist().count(97) == 1


def test_the_batch_is_its_examples_with_a_causal_mask():
    documents = [[1, 2, 3, 4, 5], [6, 7], [8]]
    made = objective(rate=0.7, mask=mw.causal() & mw.sliding_window(3))
    batch, generator = made(documents, seeded(4)), seeded(4)
    same = collate(pad([made.example(document, generator) for document in documents]))
    assert torch.equal(batch.input_ids, same.input_ids)
    assert torch.equal(batch.targets, same.targets)
    length = batch.input_ids.shape[1]
    dense = np.broadcast_to(batch.mask.bind(length, batch=3).dense(), (3, 1, length, length))[:, 0]
    q, k = np.indices((length, length))
    for b, ids in enumerate(batch.document_ids.numpy()):
        assert (dense[b] == ((k <= q) & (q - k < 3) & (ids[q] == ids[k])))[ids == 0].all()
    assert any(not torch.equal(batch.input_ids, made(documents, seeded(s)).input_ids) for s in range(5, 9))


def test_errors():
    with pytest.raises(ArgumentError, match="got no tokenizer"):
        objective().example("text", seeded())
    with pytest.raises(ArgumentError, match="explicit generator"):
        objective()([[1, 2]])
    with pytest.raises(ArgumentError, match="got 1091 at position 1"):
        objective().example([1, SUF, 2], seeded())
    with pytest.raises(ArgumentError, match=r"cuts lie in order in \[0, 2\], got \(1, 3\)"):
        objective().example([1, 2], cuts=(1, 3))
    with pytest.raises(ArgumentError, match="four different tokens, got"):
        FillInTheMiddle(1, 2, 3, 3)
    with pytest.raises(ArgumentError, match='loss_on must be "all", "text" or "middle"'):
        objective(loss_on="suffix")
    with pytest.raises(ArgumentError, match=r"got \[2\] for the empty text"):
        objective(tokenizer=Characters(2))
    with pytest.raises(ArgumentError, match="spm_rate is a share"):
        objective(spm_rate=2)
    with pytest.raises(ArgumentError, match="shows no later token"):
        objective(mask=mw.full()).example([1, 2], seeded())
