"""A mask is its spec: pickles, copies and texts make an equal mask."""

import copy
import pickle

import pytest
from hypothesis import given, settings

import maskwork as mw
from helpers.strategies import Case, cases
from helpers.strategies_sparse import sparse_cases
from maskwork.errors import MaskError


def test_a_mask_of_no_known_atom_says_so():
    class Odd(mw.Mask):
        def _spans(self, queries, kv_len):
            raise AssertionError

    for ask in (repr, hash, pickle.dumps, mw.Mask.to_json):
        with pytest.raises(MaskError, match="a Odd is not made by one"):
            ask(Odd())


def test_immutability_survives_pickling_and_copying():
    mask = mw.within(mw.causal() & mw.padding([2, 3]), [[1, 2], [3, 0]])
    again = pickle.loads(pickle.dumps(mask))
    assert again == mask
    assert hash(again) == hash(mask)
    assert not again.lengths.flags.writeable
    assert copy.deepcopy(mask) is copy.copy(mask) is mask
    bound = pickle.loads(pickle.dumps(mask.bind(3)))
    assert bound.spans == mask.bind(3).spans
    for spans in (bound.spans, pickle.loads(pickle.dumps(bound.spans))):
        assert not spans.starts.flags.writeable
    chosen = mask.bind(3).select(q=[2, 0])
    again = pickle.loads(pickle.dumps(chosen))
    assert again.mask == chosen.mask
    assert again.equals(chosen)
    assert copy.copy(chosen.mask) == chosen.mask


@settings(max_examples=200)
@given(cases)
def test_text_round_trip(case: Case):
    text = repr(case.mask)
    if "<" not in text:
        assert mw.parse(text) == case.mask


@settings(max_examples=200)
@given(cases | sparse_cases)
def test_a_full_text_is_read_back(case: Case):
    if "custom" in repr(case.mask):
        with pytest.raises(MaskError, match="none that can be read back"):
            case.mask.to_text(arrays="full")
    else:
        text = case.mask.to_text(arrays="full")
        assert "<" not in text
        assert mw.parse(text) == case.mask


@given(cases | sparse_cases)
def test_a_short_text_is_the_repr(case: Case):
    assert case.mask.to_text() == case.mask.to_text(arrays="short") == repr(case.mask)


def nested(depth: int) -> mw.Mask:
    mask = mw.causal()
    for _ in range(depth):
        mask = mw.per_row([mask, mw.full()])
    return mask


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (mw.custom(lambda b, h, q, k: k <= q) | mw.sinks(1), "cannot carry a function"),
        (mw.document([1] * 40_000), "an array of 40000 numbers"),
        (mw.document([1] * 20_000) & mw.document([2] * 20_000), "may have 100000 characters, got 12"),
        (mw.from_dense([[True] * 300] * 300), "has 90000"),
        (mw.from_dense([[], []]), "has 0"),
        (nested(30), "nested 50 deep"),
        (mw.causal().bind(4).select(q=[1]).mask, "no text that can be read back"),
    ],
    ids=["function", "long array", "long text", "dense", "no cells", "deep", "derived"],
)
def test_a_mask_without_a_full_text_says_so_in_one_line(mask: mw.Mask, words: str):
    assert repr(mask)
    with pytest.raises(MaskError, match=words) as raised:
        mask.to_text(arrays="full")
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("arrays", ["long", None, True])
def test_arrays_are_short_or_full(arrays):
    with pytest.raises(MaskError, match='"short" or "full", got'):
        mw.causal().to_text(arrays=arrays)
