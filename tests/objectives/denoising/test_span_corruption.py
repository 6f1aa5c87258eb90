"""`SpanCorruption`: the published example token for token, T5's numbers, and the law that nothing is lost."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.chi_squared import chi_squared_p
from maskwork.errors import ArgumentError
from maskwork.objectives import SpanCorruption, collate_pairs, corrupt_spans, pad_pairs, sentinels_of
from maskwork.objectives._denoising.noise_spans import noise_spans

START, END = 0, 1
SENTINELS = tuple(range(199, 99, -1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def filled(inputs, targets, sentinels):
    """The document again: each sentinel of the inputs gives way to what follows it in the targets."""
    spelt, sentinel = {}, None
    for token in targets:
        if token in sentinels:
            sentinel = token
            assert sentinel not in spelt
            spelt[sentinel] = []
        else:
            spelt[sentinel].append(token)
    return [out for token in inputs for out in (spelt[token] if token in sentinels else [token])]


def test_the_published_example():
    """Raffel et al. 2020, figure 2."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    ids = {word: number for number, word in enumerate([*words, "<X>", "<Y>", "<Z>"])}
    names = {number: word for word, number in ids.items()}
    sentinels = [ids["<X>"], ids["<Y>"], ids["<Z>"]]
    inputs, targets = corrupt_spans([ids[word] for word in words], [(2, 4), (8, 9)], sentinels)
    assert " ".join(names[i] for i in inputs) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(names[i] for i in targets) == "<X> for inviting <Y> last <Z>"


def test_the_published_example_as_a_batch():
    """The same through the objective, with T5's own ids: end 1, start 0, sentinels from 32099 down."""
    text = [1562, 25, 21, 10878, 140, 12, 39, 1088, 336, 471, 5]
    objective = SpanCorruption(range(32099, 31999, -1), decoder_start=0, end_token=1)
    pair = objective.example(text, spans=[(2, 4), (8, 9)])
    batch = collate_pairs(pad_pairs([pair]))
    targets = [32099, 21, 10878, 32098, 336, 32097, 1]
    assert batch.input_ids.tolist() == [[1562, 25, 32099, 140, 12, 39, 1088, 32098, 471, 5, 1]]
    assert batch.targets.tolist() == [targets]
    assert batch.decoder_input_ids.tolist() == [[0, *targets[:-1]]]
    assert batch.n_targets == len(targets)


@st.composite
def documents_with_spans(draw):
    tokens = draw(st.lists(st.integers(2, 99), max_size=14))
    cuts = sorted(draw(st.sets(st.integers(0, len(tokens)), max_size=8)))
    return tokens, list(zip(cuts[::2], cuts[1::2], strict=False))


@given(documents_with_spans())
def test_nothing_is_lost_and_nothing_is_said_twice(case):
    tokens, spans = case
    inputs, targets = (part.tolist() for part in corrupt_spans(tokens, spans, SENTINELS))
    again = corrupt_spans(tokens, np.array(spans, dtype=int).reshape(-1, 2), np.array(SENTINELS))
    assert [part.tolist() for part in again] == [inputs, targets]
    assert filled(inputs, targets, SENTINELS) == tokens
    assert [token for token in inputs if token in SENTINELS] == list(SENTINELS[: len(spans)])
    used = [token for token in targets if token in SENTINELS]
    assert used == list(SENTINELS[: len(used)])
    goes_on = bool(tokens) and (not spans or spans[-1][1] < len(tokens))
    assert len(used) == len(spans) + goes_on


@given(
    st.integers(2, 60), st.sampled_from([0.05, 0.15, 0.5, 0.9]), st.sampled_from([1, 2.5, 3, 8, 64]), st.integers(0, 50)
)
def test_drawn_spans_have_t5s_numbers(length, rate, mean_span, seed):
    spans = noise_spans(length, rate, mean_span, np.random.default_rng(seed))
    noise = min(max(round(length * rate), 1), length - 1)
    count = max(round(noise / mean_span), 1)
    assert sum(stop - start for start, stop in spans) == noise
    assert len(spans) == min(count, noise, length - noise)
    assert spans[0][0] > 0
    assert spans[-1][1] == length
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert all(start < stop for start, stop in spans)
    objective = SpanCorruption(SENTINELS, START, END, rate, mean_span)
    pair = objective.example(np.full(length, 5), seeded(seed))
    assert (len(pair.source), len(pair.target)) == objective.lengths(length)


def test_every_segmentation_is_equally_likely():
    # 8 tokens, 3 of them noise in 2 spans: 2 ways to cut the noise, 4 to cut the text
    random, counts = np.random.default_rng(1), {}
    for _ in range(2000):
        spans = tuple(noise_spans(8, 0.4, 1.6, random))
        counts[spans] = counts.get(spans, 0) + 1
    assert len(counts) == 8
    assert chi_squared_p(list(counts.values()), np.full(8, 250)) > 0.01


@pytest.mark.parametrize(("inputs", "document", "targets"), [(512, 568, 114), (1024, 1137, 229), (64, 70, 14)])
def test_longest_document_fills_the_source(inputs, document, targets):
    """512 gives 568 and 114, as T5's `random_spans_helper` says."""
    objective = SpanCorruption(SENTINELS, START, END)
    assert objective.longest_document(inputs) == document
    assert objective.lengths(document) == (inputs, targets)
    assert objective.lengths(document + 1)[0] > inputs


@given(st.integers(3, 200), st.sampled_from([0.05, 0.15, 0.5, 0.95]), st.sampled_from([1, 3, 8]))
def test_longest_document_equals_the_search_from_two(inputs, rate, mean_span):
    objective = SpanCorruption(SENTINELS, START, END, rate, mean_span)
    fits = [length for length in range(2, 25 * inputs) if objective.lengths(length)[0] <= inputs]
    assert fits == list(range(2, objective.longest_document(inputs) + 1))


def test_the_shortest_documents():
    objective = SpanCorruption(SENTINELS, START, END)
    batch = objective([[], [7], [7, 8]], seeded())
    assert batch.input_ids.tolist() == [[1, 0, 0], [7, 1, 0], [7, 199, 1]]
    assert batch.targets.tolist() == [[1, -100, -100], [199, 1, -100], [199, 8, 1]]
    assert [objective.lengths(n) for n in range(3)] == [(1, 1), (2, 2), (3, 3)]
    with pytest.raises(ArgumentError, match="at least one token on each side"):
        SpanCorruption(SENTINELS, START, None).example([], seeded())


def test_the_generator_decides():
    objective, documents = SpanCorruption(SENTINELS, START, END), [list(range(2, 40))] * 3
    first, again = objective(documents, seeded(1)), objective(documents, seeded(1))
    assert torch.equal(first.input_ids, again.input_ids)
    assert len({tuple(row) for row in first.input_ids.tolist()}) > 1
    assert any(not torch.equal(first.input_ids, objective(documents, seeded(s)).input_ids) for s in range(2, 6))


def test_sentinels_in_the_order_of_t5s_tokenizer():
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.T5Tokenizer(extra_ids=100)
    sentinels = sentinels_of(tokenizer)
    size = len(tokenizer)
    assert sentinels == tuple(range(size - 1, size - 101, -1))
    assert tokenizer.convert_ids_to_tokens(list(sentinels[:2])) == ["<extra_id_0>", "<extra_id_1>"]
    assert SpanCorruption(sentinels, START, END).sentinels == sentinels
    with pytest.raises(ArgumentError, match=f"got {sentinels[-1]} before {sentinels[-2]}; reverse them"):
        SpanCorruption(sentinels[::-1], START, END)
    with pytest.raises(ArgumentError, match="got a tokenizer without <nothing 0>"):
        sentinels_of(tokenizer, "<nothing {}>")


@pytest.mark.parametrize(
    ("sentinels", "order", "message"),
    [
        ([], "descending", "got none"),
        ([9, 8, 9], "given", "got 9 twice"),
        ([9, 8, 8], "descending", "got 8 twice"),
        (range(100, 200), "descending", "got 100 before 101; reverse them"),
        ([9, 7, 8], "descending", "got 7 before 8"),
        ([9, 8], "ascending", "got 9 before 8"),
        ([9, -8], "descending", "sentinels must be at least 0, got -8"),
        ([9, 8], "down", "got 'down'"),
    ],
)
def test_refuses_sentinels_that_break_a_rule(sentinels, order, message):
    with pytest.raises(ArgumentError, match=message):
        SpanCorruption(sentinels, START, END, sentinel_order=order)


def test_other_orders_when_they_are_stated():
    assert SpanCorruption([8, 9], START, END, sentinel_order="ascending").sentinels == (8, 9)
    assert SpanCorruption([8, 9, 7], START, END, sentinel_order="given").sentinels == (8, 9, 7)


def test_refuses_to_run_out_of_sentinels():
    objective = SpanCorruption([99, 98], START, END, rate=0.5, mean_span=1)
    assert objective.example(range(4), seeded()).target.targets.tolist().count(98) == 1
    with pytest.raises(ArgumentError, match="got 2 sentinels where 3 are needed"):
        objective.example(range(6), seeded())
    with pytest.raises(ArgumentError, match="got 2 sentinels where 3 are needed"):
        corrupt_spans(range(6), [(0, 1), (2, 3)], [99, 98])  # the end needs one too


def test_refuses_other_mistakes():
    objective = SpanCorruption([99, 98], START, END)
    with pytest.raises(ArgumentError, match="explicit generator"):
        objective([[1, 2, 3]])
    with pytest.raises(ArgumentError, match=r"must not hold .* got 98 at position 1"):
        objective([[1, 98, 3]], seeded())
    for spans in ([(0, 0)], [(2, 1)], [(1, 4)], [(0, 1), (1, 2)], [(2, 3), (0, 1)], [(-1, 1)]):
        with pytest.raises(ArgumentError, match=r"spans lie in order in \[0, 3\)"):
            objective.example([1, 2, 3], spans=spans)
    for rate in (0.0, 1.0, 15, float("nan")):
        with pytest.raises(ArgumentError, match=r"noise lies between 0 and 1|rate must be finite, got nan"):
            SpanCorruption([99], START, END, rate)
    with pytest.raises(ArgumentError, match="a mean length of 0"):
        SpanCorruption([99], START, END, mean_span=0)
    with pytest.raises(ArgumentError, match="got room for 2"):
        objective.longest_document(2)
