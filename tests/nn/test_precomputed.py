"""A precomputed mask, cut to any shorter grid, is the mask bound to that grid."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, Case, cases
from maskwork.errors import ArgumentError, GridError
from maskwork.nn import Attention, PrecomputedMask

MAX = 12
LAYERED = mw.causal() & (mw.sliding_window(3) | mw.sinks(1))


@given(st.data())
def test_cut_to_any_grid_it_is_the_mask(data: st.DataObject):
    case: Case = data.draw(cases)
    kept = PrecomputedMask(case.mask, MAX)
    kv_len = data.draw(st.integers(0, MAX))
    q_start = data.draw(st.integers(0, MAX))
    q_len = data.draw(st.integers(0, MAX - q_start))
    heads = case.mask.heads
    bound = kept(q_len, kv_len, q_start=q_start, batch=BATCH, heads=heads)
    expected = case.mask.bind(q_len, kv_len, q_start=q_start, batch=BATCH, heads=heads)
    assert bound.spans == expected.spans
    assert bound.grid == expected.grid
    assert bound.equals(expected)


@pytest.mark.parametrize(
    "mask",
    [
        mw.document([3, 4, 5]) & mw.causal(),  # speaks of exactly MAX positions, and is cut all the same
        mw.per_head([mw.causal(), mw.sliding_window(2), mw.empty(), mw.full()]),
        mw.padding([5, 12]) & mw.causal(),
        mw.empty(),
    ],
)
def test_masks_of_one_length_per_row_and_per_head(mask: mw.Mask):
    layer = Attention(24, 4, 2, precompute=(mask, MAX)).eval()
    for length in (MAX, 7, 1, 0):
        x = torch.randn(2, length, 24)
        bound = mask.bind(length, length, q_start=0, batch=2, heads=4)
        assert torch.equal(layer(x), layer(x, mask=bound))


def test_an_explicit_mask_overrides_it():
    layer = Attention(24, 4, precompute=(LAYERED, MAX)).eval()
    x = torch.randn(2, 9, 24)
    assert torch.equal(layer(x), layer(x, mask=LAYERED))
    assert not torch.allclose(layer(x), layer(x, mask=mw.full()))
    longer = torch.randn(2, MAX + 1, 24)
    with pytest.raises(ArgumentError, match="holds 12 positions, got queries up to 13 and 13 keys; precompute it"):
        layer(longer)
    assert layer(longer, mask=LAYERED).shape == longer.shape


def test_one_length_is_bound_and_lowered_once():
    kept = PrecomputedMask(LAYERED, MAX)
    assert kept(7, 7) is kept(7, 7)
    assert kept(7, 7) is not kept(6, 6)
    assert kept(5, 12, q_start=7) is not kept(5, 12, q_start=6)


def test_a_position_bias_is_told_where_the_queries_stand():
    layer = Attention(24, 4, context_width=24, precompute=(mw.full(), MAX)).eval()
    x, context = torch.randn(2, 4, 24), torch.randn(2, 9, 24)
    with pytest.raises(GridError, match=r"q_start=5 \(kv_len - q_len\)"):
        layer(x, context=context, bias=mw.alibi(4))
    for q_start in (0, 5):
        expected = layer(x, context=context, mask=mw.full(), q_start=q_start, bias=mw.alibi(4))
        assert torch.equal(layer(x, context=context, q_start=q_start, bias=mw.alibi(4)), expected)


def test_buffers_move_and_are_saved_on_request():
    kept = PrecomputedMask(LAYERED, MAX, persistent=True)
    assert {name: tuple(edge.shape) for name, edge in kept.state_dict().items()} == {
        "starts": (1, 1, MAX, 2),
        "ends": (1, 1, MAX, 2),
    }
    assert kept.half().starts.dtype == torch.int32
    assert kept.to("meta").starts.device.type == "meta"
    assert not PrecomputedMask(LAYERED, MAX).state_dict()
    assert "sinks(1)" in repr(kept)


def test_a_saved_mask_comes_back_and_another_is_refused():
    kept = PrecomputedMask(LAYERED, MAX, persistent=True)
    again = PrecomputedMask(LAYERED, MAX, persistent=True)
    again.load_state_dict(kept.state_dict())
    assert again(9, 9).equals(LAYERED.bind(9))
    for other in (mw.causal() & (mw.sliding_window(4) | mw.sinks(1)), mw.causal()):
        layer = Attention(24, 4, precompute=(other, MAX), persistent=True)
        state = Attention(24, 4, precompute=(LAYERED, MAX), persistent=True).state_dict()
        with pytest.raises(RuntimeError, match="must be those of the module's mask"):
            layer.load_state_dict(state)
        assert layer.precomputed(9, 9).equals(other.bind(9))


def test_copies_and_pickles_are_the_same_mask():
    kept = PrecomputedMask(LAYERED, MAX)
    bound = kept(9, 9)
    for again in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert again(9, 9).equals(bound)
        assert again(5, 5).equals(LAYERED.bind(5))


def test_mistakes_say_rule_finding_and_mend():
    with pytest.raises(ArgumentError, match="must be unbound, got BoundMask"):
        PrecomputedMask(mw.causal().bind(4), 4)
    with pytest.raises(GridError, match="batch must match"):
        PrecomputedMask(mw.padding([3, 4]), MAX)(5, 5, batch=3)
