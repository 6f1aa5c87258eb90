"""JSON and pickle carry every mask; hostile input ends in `MaskError`."""

import base64
import json
import pickle
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import Case, cases
from maskwork.errors import MaskError
from maskwork.masks._text.registry import MAKERS


@settings(max_examples=200)
@given(cases)
def test_round_trips(case: Case):
    assert mw.Mask.from_json(case.mask.to_json()) == case.mask
    assert pickle.loads(pickle.dumps(case.mask)) == case.mask


@pytest.mark.parametrize("values", [[0, 1], [-1, 100], [-(2**15), 5], [0, 2**31], [-(2**62), 2**62]])
def test_arrays_keep_their_values_in_as_few_bytes_as_they_need(values: list[int]):
    mask = mw.document(ids=values * 100)
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_every_atom_that_text_and_json_know_is_public():
    assert set(MAKERS) <= set(mw.__all__)


def test_arrays_are_compact():
    assert len(mw.real(np.ones((2, 4096), dtype=bool)).to_json()) < 2 * 4096 / 8 * 4 / 3 + 150
    assert len(mw.document(ids=np.arange(4096) // 100).to_json()) < 4096 * 4 / 3 + 150


def test_an_unpickled_mask_cannot_be_written_to():
    mask = pickle.loads(pickle.dumps(mw.document([2, 2])))
    assert not mask.lengths.flags.writeable


ARRAY = {"array": "int8", "shape": [4], "data": base64.b64encode(bytes(4)).decode()}


def text_of(mask: object, version: object = 1) -> str:
    return json.dumps({"maskwork": version, "mask": mask})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "1", "null", '"causal"', "NaN", "\x00", "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe\x00",
        '{"mask": {"name": "causal"}}', text_of({"name": "causal"}, 2), text_of({"name": "causal"}, "1"),
        text_of({"name": "causal"}, True),
        text_of(None), text_of([]), text_of(3), text_of("causal"), text_of([{"name": "causal"}]), text_of({}),
        text_of({"name": "causal", "x": 1}), text_of({"name": ["causal"]}), text_of({"name": "causl"}),
        text_of({"name": "__import__", "args": ["os"]}), text_of({"name": "shift", "args": [{"name": "causal"}]}),
        text_of({"name": "causal", "args": [1]}), text_of({"name": "sinks", "args": [1.5]}),
        text_of({"name": "sinks", "args": [True]}), text_of({"name": "sinks", "args": [1e400]}),
        '{"maskwork": 1, "mask": {"name": "sinks", "args": [' + "9" * 1000 + "]}}",
        '{"maskwork": 1, "mask": {"name": "sinks", "args": [' + "9" * 10_000 + "]}}",
        text_of({"name": "sinks", "named": {"m": 1}}), text_of({"name": "sinks", "args": {"n": 1}}),
        text_of({"name": "&", "args": [1, 2]}), text_of({"name": "~", "args": []}),
        text_of({"name": "~", "args": [{"name": "causal"}, {"name": "causal"}]}), text_of({"name": "^", "args": ["a"]}),
        text_of({"name": ".shift", "args": [{"name": "causal"}], "named": {"q": "1"}}),
        text_of({"name": ".shift", "args": [{"name": "causal"}], "named": {"mask": 1}}),
        text_of({"name": "within", "args": ["ab", [1, 2]]}), text_of({"name": "per_head", "args": [[]]}),
        text_of({"name": "document", "args": [{**ARRAY, "shape": [5]}]}),
        text_of({"name": "document", "args": [{**ARRAY, "shape": [2**40, 0]}]}),
        text_of({"name": "document", "args": [{**ARRAY, "shape": [0, 2**30]}]}),
        text_of({"name": "document", "args": [{**ARRAY, "shape": [-4]}]}),
        text_of({"name": "document", "args": [{**ARRAY, "shape": [True] * 4}]}),
        text_of({"name": "document", "args": [{**ARRAY, "shape": 4}]}),
        text_of({"name": "document", "args": [{**ARRAY, "array": "object"}]}),
        text_of({"name": "document", "args": [{**ARRAY, "array": ["int8"]}]}),
        text_of({"name": "document", "args": [{**ARRAY, "data": "!!!"}]}),
        text_of({"name": "document", "args": [{**ARRAY, "data": "é"}]}),
        text_of({"name": "document", "args": [{"array": "bits", "shape": [4], "data": "AA=="}]}),
        text_of({"name": "real", "args": [ARRAY, ARRAY]}), text_of(ARRAY), 5, None,
    ],
    ids=lambda text: repr(text)[:60],
)  # fmt: skip
def test_hostile_json(text):
    with pytest.raises(MaskError):
        mw.Mask.from_json(text)


def test_depth_is_limited_both_ways():
    mask = mw.causal()
    for i in range(60):
        mask = (mask & mw.prefix(i)) | mw.sinks(i + 500)
    with pytest.raises(MaskError, match="nested 100 deep"):
        mask.to_json()
    deep: object = {"name": "causal"}
    for _ in range(200):
        deep = {"name": "~", "args": [deep]}
    with pytest.raises(MaskError, match="nested 100 deep"):
        mw.Mask.from_json(text_of(deep))


def test_what_is_written_can_be_read_however_deep():
    mask = mw.causal()
    for _ in range(99):
        mask = mw.per_row([mask, mw.full()])
    assert mw.Mask.from_json(mask.to_json()) == mask


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.just(ARRAY),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {
                "name": st.sampled_from(
                    ["causal", "prefix", "real", "within", "per_row", "match", "&", "^", "~", ".shift"]
                )
            },
            optional={"args": st.lists(inner, max_size=3), "named": st.dictionaries(st.sampled_from("qk"), inner)},
        )
    ),
    max_leaves=5,
)


@settings(max_examples=100)
@given(VALUES)
def test_any_json_is_a_mask_or_a_mask_error(value: object):
    with suppress(MaskError):
        assert isinstance(mw.Mask.from_json(text_of(value)), mw.Mask)
