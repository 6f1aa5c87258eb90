"""`CausalLM` against a loop that builds every cell by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.data import PackedRow, pack
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, CausalLM


@st.composite
def packed_rows(draw):
    length = draw(st.integers(2, 12))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        lengths, left = [], length
        while left:
            lengths.append(draw(st.integers(1, left)))
            left -= lengths[-1]
        padding = lengths[-1] if len(lengths) > 1 and draw(st.booleans()) else 0
        tokens = draw(st.lists(st.integers(0, 9), min_size=length, max_size=length))
        rows.append(PackedRow(np.array(tokens, dtype=np.int64), tuple(lengths), padding))
    return rows


def by_hand(row):
    """One row, cell by cell: (targets, positions, documents)."""
    targets, positions, documents = [], [], []
    blocks = np.split(row.tokens, np.cumsum(row.lengths)[:-1])
    for number, block in enumerate(blocks):
        is_padding = bool(row.padding) and number == len(blocks) - 1
        for place in range(len(block)):
            last = place == len(block) - 1
            targets.append(IGNORED if last or is_padding else int(block[place + 1]))
            positions.append(place)
            documents.append(-1 if is_padding else number)
    return targets, positions, documents


@given(packed_rows())
def test_equals_the_loop(rows):
    batch = CausalLM()(rows)
    for b, row in enumerate(rows):
        targets, positions, documents = by_hand(row)
        assert batch.input_ids[b].tolist() == row.tokens.tolist()
        assert batch.targets[b].tolist() == targets
        assert batch.weights[b].tolist() == [float(t != IGNORED) for t in targets]
        assert batch.position_ids[b].tolist() == positions
        assert batch.document_ids[b].tolist() == documents
    assert batch.n_targets == batch.weight_sum == int((batch.targets != IGNORED).sum())


@given(packed_rows())
def test_mask_is_causal_inside_each_block(rows):
    batch = CausalLM()(rows)
    n_rows, length = batch.input_ids.shape
    dense = np.broadcast_to(batch.mask.bind(length, batch=n_rows).dense(), (n_rows, 1, length, length))
    for b, row in enumerate(rows):
        block = np.repeat(np.arange(len(row.lengths)), row.lengths)
        expected = (block[:, None] == block[None]) & np.tri(length, dtype=bool)
        assert (dense[b, 0] == expected).all()


def test_the_models_own_mask_restarts_in_each_document():
    row = PackedRow(np.arange(6), (4, 2), 0)
    batch = CausalLM(mw.causal() & mw.sliding_window(2))([row])
    assert batch.mask == mw.within(mw.causal() & mw.sliding_window(2), [[4, 2]])
    assert CausalLM() == CausalLM(mw.causal())


def test_a_mask_that_shows_the_future_is_refused():
    with pytest.raises(ArgumentError, match=r"causal \| prefix\(3\), which lets position 0 see 1"):
        CausalLM(mw.causal() | mw.prefix(3))([PackedRow(np.arange(6), (6,), 0)])


def test_refuses_rows_that_do_not_fit():
    with pytest.raises(ArgumentError, match="got Tensor; pass a list"):
        CausalLM()(torch.tensor([[1, 2, 3]]))
    with pytest.raises(ArgumentError, match="got int of int64, 0-D as example 0; pass a list"):
        CausalLM()([1, 2, 3])
    with pytest.raises(ArgumentError, match="at least one row"):
        CausalLM()([])
    with pytest.raises(ArgumentError, match="got 4 tokens in row 0 and 3 in row 1"):
        CausalLM()([PackedRow(np.arange(4), (4,), 0), PackedRow(np.arange(3), (3,), 0)])


def test_does_not_touch_its_input():
    row = PackedRow(np.arange(4), (2, 2), 2)
    batch = CausalLM()([row], torch.Generator())
    batch.input_ids.fill_(7)
    assert row.tokens.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, CausalLM().example])
def test_a_reader_may_fill_one_array_again_and_again(make):
    buffer = np.zeros(3, dtype=np.int64)

    def documents():
        for number in (1, 2, 3):
            buffer[:] = number
            yield make(buffer)

    assert [row.tokens.tolist() for row in pack(documents(), 3)] == [[n] * 3 for n in (1, 2, 3)]
