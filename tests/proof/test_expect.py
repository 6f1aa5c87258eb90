"""Expected masks: one for each layer, and how far one mask reaches through the layers."""

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.errors import ArgumentError, GridError
from maskwork.proof._expect import Expected, layer_count, sees_later_keys
from maskwork.proof._probes.survey import Survey
from maskwork.proof.zoo import Specimen, seeded, tokens

IDS = tokens(24, 0)


def test_each_layer_can_have_a_mask_of_its_own():
    def window(told):
        q = torch.arange(told.rule.shape[-2])[:, None]
        return told.rule & (torch.arange(told.rule.shape[-1]) > q - 3)

    model = seeded(lambda: Specimen(twists={1: window}), 0)
    masks = [mw.causal(), mw.sliding_window(3), mw.causal()]
    assert mw.audit(model, IDS, masks, checks=["mask"]).ok
    report = mw.audit(model, IDS, [mw.sliding_window(3), mw.causal(), mw.causal()], checks=["mask"])
    assert report.findings[0].module == "blocks.0.attention"
    report = mw.audit(model, IDS, masks[:2], checks=["mask"])
    assert report.checks["mask"].startswith("cannot run: expect gives 2 masks, and the model has 3 modules")


def test_a_function_of_unknown_depth():
    def two_steps(ids):
        x = ids + ids.roll(1, 1) * (torch.arange(ids.shape[1]) > 0)
        return x + x.roll(1, 1) * (torch.arange(ids.shape[1]) > 0)

    report = mw.audit(two_steps, IDS, mw.sliding_window(2), checks=["mask", "batch"])
    assert "give layers=" in report.checks["mask"]
    assert not report.ok  # what was asked for was not checked
    assert mw.audit(two_steps, IDS, mw.sliding_window(2), checks=["mask"], layers=2).ok
    assert not mw.audit(two_steps, IDS, mw.sliding_window(2), checks=["mask"], layers=1).ok


def test_a_mask_for_each_layer_of_a_function():
    def window_of_three(ids):
        past = torch.stack([ids.roll(d, 1) * (torch.arange(len(IDS)) >= d) for d in range(3)])
        return past.sum(0)

    two = mw.sliding_window(2)
    assert mw.audit(window_of_three, IDS, checks=["mask"], expect=[two, two]).ok
    assert mw.audit(window_of_three, IDS, checks=["mask"], expect=[two, mw.sliding_window(1)]).leaks


@pytest.mark.parametrize("layers", [0, -1, True, 1.5, None, "all"])
def test_layers_are_counted(layers: object):
    with pytest.raises(ArgumentError, match="layers must be"):
        mw.audit(seeded(Specimen, 0), IDS, checks=["mask"], layers=layers)  # type: ignore[arg-type]


def test_a_mask_must_be_of_one_sequence_and_fit_it():
    with pytest.raises(ArgumentError, match="one sequence, got a mask"):
        mw.audit(seeded(Specimen, 0), IDS, mw.causal() & mw.padding([20, 24]))
    with pytest.raises(GridError, match="must fit the 24 audited tokens"):
        mw.audit(seeded(Specimen, 0), IDS, mw.causal() & mw.document([12, 10]))


@pytest.mark.parametrize("layers", [2, np.int64(2), np.uint8(2)])
def test_any_integer_counts_layers(layers: int):
    count = layer_count(layers)
    assert count == 2
    assert type(count) is int


@pytest.mark.parametrize("mask", ["causal", "full", "sliding_window(3)", "sliding_window([2, 4]) | causal & sinks(1)"])
@pytest.mark.parametrize("layers", [1, 2, 5, 10**9])
def test_the_reach_of_one_mask_is_that_of_its_geometry(mask: str, layers: int):
    """Tables are composed densely, geometries as runs: two ways to one answer."""
    expected = Expected.from_masks(mw.parse(mask), 20)
    reach, count = expected.reach(Survey(), layers, None)
    assert count == layers
    assert (reach.numpy() == mw.parse(mask).bind(20).reach(min(layers, 20)).dense()[0, 0]).all()


def test_a_mask_sees_later_keys_or_does_not():
    assert not sees_later_keys(mw.causal() & mw.sliding_window([2, 4]), 12)
    assert sees_later_keys(mw.causal() | mw.prefix(3), 12)
    assert not sees_later_keys(mw.causal() | mw.prefix(1), 12)
