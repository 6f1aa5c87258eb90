"""`Batch`: its checks, its sums, and what transformers makes of it."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import maskwork as mw
from maskwork.data import PackedRow
from maskwork.errors import ArgumentError, CannotExpress
from maskwork.objectives import CausalLM, TokenTagging, masked_cross_entropy


@pytest.fixture
def batch():
    rows = [PackedRow(np.arange(6), (3, 2, 1), 1), PackedRow(np.arange(6) + 1, (6,), 0)]
    return CausalLM()(rows)


def test_hf_labels_give_the_same_loss_once_shifted(batch):
    logits = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    given = batch.to_hf()
    # What transformers' ForCausalLMLoss does: shift the labels left, pad with -100, ignore -100.
    shifted = F.pad(given["labels"], (0, 1), value=-100)[:, 1:]
    theirs = F.cross_entropy(logits.flatten(0, 1), shifted.flatten(), ignore_index=-100)
    ours = masked_cross_entropy(logits, batch.targets, batch.weights).loss
    torch.testing.assert_close(ours, theirs)


def test_hf_mask_is_the_batchs_mask(batch):
    given = batch.to_hf(torch.bfloat16)
    additive = given["attention_mask"]
    assert additive.shape == (2, 1, 6, 6)
    assert additive.dtype == torch.bfloat16
    dense = torch.tensor(batch.mask.bind(6, batch=2).dense())
    assert torch.equal(additive == 0, dense)
    assert set(additive.unique().tolist()) == {0.0, torch.finfo(torch.bfloat16).min}
    assert given["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]


def test_hf_refuses_what_labels_cannot_say(batch):
    half = dataclasses.replace(batch, weights=batch.weights * 0.5)
    with pytest.raises(CannotExpress, match="weights other than 1"):
        half.to_hf()
    targets, weights = batch.targets.clone(), batch.weights.clone()
    targets[1, -1], weights[1, -1] = 3, 1.0
    with pytest.raises(CannotExpress, match="last column"):
        dataclasses.replace(batch, targets=targets, weights=weights).to_hf()
    tagged = TokenTagging()([([5, 6, 7], [1, 0, None])])
    with pytest.raises(CannotExpress, match="pass shifts_labels=False"):
        tagged.to_hf()
    assert torch.equal(tagged.to_hf(shifts_labels=False)["labels"], tagged.targets)


def test_counts_only_what_is_scored(batch):
    weights = batch.weights.clone()
    weights[1, 0] = 0.0
    weights[1, 1] = 0.5
    lighter = dataclasses.replace(batch, weights=weights)
    assert (batch.n_targets, batch.weight_sum) == (8, 8.0)
    assert (lighter.n_targets, lighter.weight_sum) == (7, 6.5)
    # A weight where nothing is scored doesn't count.
    weights[0, 5] = 9.0
    assert dataclasses.replace(batch, weights=weights).weight_sum == 6.5


def test_checks_shape_and_dtype(batch):
    with pytest.raises(ArgumentError, match=r"weights must be torch.float32 .* got torch.float64"):
        dataclasses.replace(batch, weights=batch.weights.double())
    with pytest.raises(ArgumentError, match=r"targets .* got torch.int64 \(2, 5\)"):
        dataclasses.replace(batch, targets=batch.targets[:, :5])


def test_moves_its_tensors_and_keeps_its_mask(batch):
    moved = batch.to("meta")
    assert moved.input_ids.device.type == moved.document_ids.device.type == "meta"
    assert moved.mask == batch.mask
    assert mw.Batch is type(batch)
