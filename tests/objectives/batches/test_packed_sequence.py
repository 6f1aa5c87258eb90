"""An RNN over a batch's documents reads each alone, wherever its row has put it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from maskwork.data import pack
from maskwork.errors import ArgumentError
from maskwork.objectives import Batch, CausalLM, collate, pad

DOCUMENTS = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 10], [11, 12], [13, 14, 15, 16]]


def batches(documents: list[list[int]]) -> dict[str, Batch]:
    examples = [CausalLM().example(document) for document in documents]
    longest = max(map(len, documents))
    return {
        "padded right": collate(pad(examples, multiple_of=4)),
        "padded left": collate(pad(examples, side="left", multiple_of=4)),
        "packed": collate(list(pack(examples, longest + 2, "first_fit"))),
    }


def documents_of(batch: Batch, values: torch.Tensor) -> list[torch.Tensor]:
    """The definition: row by row, the stretch of each document's number."""
    return [
        values[row][ids == number] for row, ids in enumerate(batch.document_ids) for number in range(int(ids.max()) + 1)
    ]


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=6), min_size=1, max_size=7))
def test_it_is_torchs_own_packing_of_the_documents(documents: list[list[int]]):
    for batch in batches(documents).values():
        values = torch.randn(*batch.input_ids.shape, 2, generator=torch.Generator().manual_seed(0))
        alone = documents_of(batch, values)
        packed, expected = batch.pack_sequence(values), pack_sequence(alone, enforce_sorted=False)
        assert torch.equal(packed.batch_sizes, expected.batch_sizes)
        assert sorted(packed.data.flatten().tolist()) == sorted(expected.data.flatten().tolist())
        for mine, theirs in zip(_unpacked(packed), alone, strict=True):
            assert torch.equal(mine, theirs)
        back = batch.unpack_sequence(packed)
        assert torch.equal(back, values * (batch.document_ids >= 0).unsqueeze(-1))


def _unpacked(packed: nn.utils.rnn.PackedSequence) -> list[torch.Tensor]:
    padded, lengths = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    return [row[:length] for row, length in zip(padded, lengths.tolist(), strict=True)]


@pytest.mark.parametrize("layout", ["padded right", "padded left", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_over_it_is_the_lstm_over_each_document_alone(layout: str, bidirectional: bool):
    torch.manual_seed(0)
    batch = batches(DOCUMENTS)[layout]
    embed = nn.Embedding(20, 6, dtype=torch.float64)
    lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=bidirectional, batch_first=True, dtype=torch.float64)
    parameters = [*embed.parameters(), *lstm.parameters()]
    out, (last, _) = lstm(batch.pack_sequence(embed(batch.input_ids)))
    got = batch.unpack_sequence(out)
    factors = torch.randn(20, got.shape[-1], dtype=torch.float64)[batch.input_ids]
    gradients = torch.autograd.grad((got * factors).sum(), parameters)

    total = torch.zeros((), dtype=torch.float64)
    ids = documents_of(batch, batch.input_ids)
    for number, (tokens, here, weights) in enumerate(
        zip(ids, documents_of(batch, got), documents_of(batch, factors), strict=True)
    ):
        alone, (alone_last, _) = lstm(embed(tokens.unsqueeze(0)))
        torch.testing.assert_close(here, alone[0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(last[:, number], alone_last[:, 0], rtol=1e-12, atol=1e-14)
        total = total + (alone[0] * weights).sum()
    assert len(ids) == len(DOCUMENTS)
    assert not got[batch.document_ids < 0].any()
    for mine, theirs in zip(gradients, torch.autograd.grad(total, parameters), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)


def test_a_nan_at_padding_reaches_nothing():
    batch = batches(DOCUMENTS)["padded left"]
    values = torch.ones(*batch.input_ids.shape, 1)
    values[batch.document_ids < 0] = torch.nan
    values.requires_grad_()
    back = batch.unpack_sequence(batch.pack_sequence(values))
    back.sum().backward()
    assert torch.isfinite(back).all()
    assert values.grad is not None
    assert torch.equal(values.grad.squeeze(-1), (batch.document_ids >= 0).float())


def test_what_does_not_fit_the_batch_is_refused():
    batch = batches(DOCUMENTS)["packed"]
    with pytest.raises(ArgumentError, match="put batch and length first"):
        batch.pack_sequence(torch.zeros(batch.input_ids.shape[1], batch.input_ids.shape[0], 3))
    other = batches(DOCUMENTS[:3])["packed"]
    with pytest.raises(ArgumentError, match="unpack with the batch that packed it"):
        batch.unpack_sequence(other.pack_sequence(other.input_ids))
    (empty,) = np.full((1, 1, 3), -1)
    nothing = Batch(
        **{name: getattr(batch, name)[:1, :3] for name in ("input_ids", "targets", "weights", "position_ids")},
        document_ids=torch.from_numpy(empty),
        mask=batch.mask,
    )
    with pytest.raises(ArgumentError, match="padding alone"):
        nothing.pack_sequence(nothing.input_ids)
