"""`TokenTagging` against a loop over words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.data import PackedRow
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, Reason, Tagged, TokenTagging, collate, pad

LABEL = st.one_of(st.none(), st.just(IGNORED), st.integers(0, 4))
WEIGHT = st.one_of(st.just(0.0), st.floats(0, 1, width=32, allow_subnormal=False))


@st.composite
def tagged(draw):
    """A document of words in pieces, with special tokens here and there."""
    pieces = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))  # 0: a special token
    if not any(pieces):
        pieces[0] = 1
    words, count = [], 0
    for n in pieces:
        words += [count] * n if n else [None]
        count += n > 0
    tokens = draw(st.lists(st.integers(0, 9), min_size=len(words), max_size=len(words)))
    labels = draw(st.lists(LABEL, min_size=count, max_size=count))
    weights = draw(st.one_of(st.none(), st.lists(WEIGHT, min_size=count, max_size=count)))
    return Tagged(tokens, labels, weights, words)


def by_hand(document):
    """Position by position: (target, weight, reason)."""
    out, seen = [], set()
    for word in document.words:
        if word is None:
            out.append((IGNORED, 0.0, Reason.SPECIAL))
        elif word in seen:
            out.append((IGNORED, 0.0, Reason.SUBWORD))
        else:
            label = document.labels[word]
            weight = 1.0 if document.weights is None else document.weights[word]
            if label is None or label == IGNORED:
                out.append((IGNORED, 0.0, Reason.MISSING_LABEL))
            elif weight == 0:
                out.append((IGNORED, 0.0, Reason.ZERO_WEIGHT))
            else:
                out.append((label, weight, Reason.SCORED))
        seen.add(word)
    return out


@given(st.lists(tagged(), min_size=1, max_size=4), st.sampled_from(["right", "left"]))
def test_equals_the_loop_on_both_sides(documents, side):
    batch = collate(pad([TokenTagging().example(document) for document in documents], side=side))
    length = batch.input_ids.shape[1]
    for b, document in enumerate(documents):
        n = len(document.tokens)
        begin = length - n if side == "left" else 0
        got = zip(batch.targets[b].tolist(), batch.weights[b].tolist(), batch.reasons[b].tolist(), strict=True)
        fill = [(IGNORED, 0.0, Reason.PADDING)] * (length - n)
        expected = fill + by_hand(document) if side == "left" else by_hand(document) + fill
        assert list(got) == expected
        dense = batch.mask.bind(length, batch=len(documents)).dense()
        dense = np.broadcast_to(dense, (len(documents), 1, length, length))[b, 0]
        real = (np.arange(length) >= begin) & (np.arange(length) < begin + n)
        assert (dense == (real[:, None] == real[None])).all()


def test_a_call_pads_on_the_right_and_plain_tuples_are_documents():
    batch = TokenTagging()([([5, 6, 7], [0, None, 2]), (np.array([8]), np.array([3]), [0.5])])
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.targets.tolist() == [[0, IGNORED, 2], [3, IGNORED, IGNORED]]
    assert batch.weights.tolist() == [[1, 0, 1], [0.5, 0, 0]]
    assert batch.reasons[0, 1] == Reason.MISSING_LABEL


def test_examples_pack_and_each_document_keeps_to_itself():
    examples = [TokenTagging().example(([5, 6], [1, 2])), TokenTagging().example(([7], [3]))]
    batch = collate([PackedRow.of(examples, 4)])
    assert batch.targets.tolist() == [[1, 2, 3, IGNORED]]
    assert batch.mask == mw.within(mw.full(), [[2, 1, 1]])


def test_the_mask_is_the_models_own():
    window = mw.band(1, 1)
    assert TokenTagging(window)([([5, 6], [0, 1])]).mask == mw.within(window, [[2]])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([[1, 2], [0, 1]], "is a tuple"),
        (([1, 2],), "is a tuple"),
        (([1, 2], [0]), "one label for each of 2, got 1"),
        (([1, 2], [0, -1]), "got -1 as label 1"),
        (([1, 2], [0, 0.5]), "whole numbers"),
        (([1, 2], ["NOUN", "VERB"]), "number them first"),
        (([1, 2], [True, False]), "whole numbers"),
        (([1, 2], [[0, 1]]), "2-D"),
        (([1, 2], 7), "labels are"),
        (([1, 2], [0, 1], [1.0]), r"one weight for each of 2, got shape \(1,\)"),
        (([1, 2], [0, 1], [1.0, -1.0]), "finite numbers >= 0"),
        (([1, 2], [0, 1], [1.0, float("nan")]), "finite numbers >= 0"),
        (([1, 2], [0, 1], [1.0, None]), "finite numbers >= 0"),
        (([1, 2], [0], None, [0]), "got 1 for 2 tokens"),
        (([1, 2], [0, 1], None, [1, 0]), "got word 1 at token 0 after 0 words"),
        (([1, 2, 3], [0, 1], None, [0, 1, 0]), "got word 0 at token 2"),
        (([1.5, 2], [0, 1]), "flat sequence of token ids"),
    ],
)
def test_refuses(document, message):
    with pytest.raises(ArgumentError, match=message):
        TokenTagging()([document])


def test_refuses_no_documents_and_empty_ones():
    with pytest.raises(ArgumentError, match="at least one example"):
        TokenTagging()([])
    with pytest.raises(ArgumentError):
        TokenTagging()([([1], [0]), ([], [])])


def test_a_word_before_the_first_is_refused():
    with pytest.raises(ArgumentError, match="got word -1 at token 0"):
        TokenTagging().example(Tagged([5, 6], [1], words=[-1, 0]))
