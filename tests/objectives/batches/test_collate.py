"""Padding is known by its position, on either side, and never by a token's id."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.data import IGNORED, PackedRow, Reason, pack
from maskwork.errors import ArgumentError
from maskwork.objectives import CausalLM, collate, pad

EOS = 0  # and the id that padding is filled with


@pytest.mark.parametrize("side", ["right", "left"])
@given(
    documents=st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=6).map(lambda words: [*words, EOS]), min_size=1, max_size=5
    ),
    multiple_of=st.integers(1, 5),
)
def test_a_token_with_the_paddings_id_is_a_token(side: str, documents: list[list[int]], multiple_of: int):
    rows = pad([CausalLM().example(document) for document in documents], side=side, multiple_of=multiple_of)
    longest = max(map(len, documents))
    length = min(n for n in range(longest, longest + multiple_of) if n % multiple_of == 0)
    batch = collate(rows)
    seen = batch.mask.bind(length, batch=len(rows)).dense()[:, 0]
    for row, document in enumerate(documents):
        begin = length - len(document) if side == "left" else 0
        real = np.zeros(length, dtype=bool)
        real[begin : begin + len(document)] = True
        assert batch.input_ids[row].tolist() == [
            document[place - begin] if real[place] else 0 for place in range(length)
        ]
        targets = [document[place - begin + 1] for place in range(begin, begin + len(document) - 1)]
        assert batch.targets[row, begin : begin + len(document) - 1].tolist() == targets
        assert batch.scored[row].sum() == len(document) - 1
        assert (batch.targets[row] != IGNORED).sum() == len(document) - 1
        assert batch.document_ids[row].tolist() == [0 if here else -1 for here in real]
        assert batch.position_ids[row][real].tolist() == list(range(len(document)))
        assert batch.reasons is not None
        assert [reason == Reason.PADDING for reason in batch.reasons[row].tolist()] == (~real).tolist()
        # A token sees those before it, padding the padding before it (no softmax is over nothing); neither the other.
        q, k = np.ogrid[:length, :length]
        assert np.array_equal(seen[row], (real[q] == real[k]) & (k <= q))


@pytest.mark.parametrize("strategy", ["best_fit", "first_fit", "sequential", "pad"])
def test_packed_rows_know_their_padding_too(strategy: str):
    documents = [[7, EOS], [EOS, EOS, EOS], [8, 9, EOS]]
    for batch in (
        CausalLM()(list(pack(documents, 7, strategy))),
        collate(list(pack([CausalLM().example(document) for document in documents], 7, strategy))),
    ):
        assert int((batch.document_ids >= 0).sum()) == 8
        assert batch.n_targets == 5
        # EOS is trained: each document's last target is its EOS.
        assert (batch.targets[batch.scored] == EOS).sum() == 4


def test_either_side_gives_the_same_loss_and_gradients_as_no_padding():
    torch.manual_seed(0)
    shape = mw.models.ModelConfig(vocab_size=11, layers=2, width=16, heads=2, kv_heads=1, hidden=32, context=16)
    model = mw.models.Transformer(shape).double()
    documents = [[1, 2, 3, EOS], [4, EOS], [5, EOS, EOS, 6, 7, EOS]]
    examples = [CausalLM().example(document) for document in documents]
    sums = []
    for batches in (
        [pad([example]) for example in examples],
        [pad(examples, multiple_of=8)],
        [pad(examples, side="left")],
    ):
        model.zero_grad()
        total = 0.0
        for rows in batches:
            batch = collate(rows)
            logits = model(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)
            loss = mw.masked_cross_entropy(logits, batch.targets, batch.weights, reduction="sum").loss
            loss.backward()
            total += float(loss.detach())
        sums.append((total, [parameter.grad.clone() for parameter in model.parameters()]))
    for total, gradients in sums[1:]:
        assert total == pytest.approx(sums[0][0], rel=1e-12)
        for mine, theirs in zip(gradients, sums[0][1], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_padded_is_refused():
    example = CausalLM().example([1, 2])
    with pytest.raises(ArgumentError, match="got 'middle'"):
        pad([example], side="middle")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        pad([example], multiple_of=0)
    with pytest.raises(ArgumentError, match="at least one example, got none"):
        pad([])


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_may_be_longer_than_a_documents_own_array(side: str):
    own = mw.from_dense(np.tri(2, dtype=bool))
    example = dataclasses.replace(CausalLM().example([1, 2]), mask=own)
    batch = collate([PackedRow.of([example], 6, side)])
    seen = batch.mask.bind(6).dense()[0, 0]
    real = slice(0, 2) if side == "right" else slice(4, 6)
    assert (seen[real, real] == np.tri(2, dtype=bool)).all()
    assert seen.sum() == 3 + 4 * 4  # padding sees itself, and nothing else sees it


def test_a_row_of_padding_alone_is_refused():
    with pytest.raises(ArgumentError, match="got padding alone"):
        CausalLM()([PackedRow(np.zeros(3, dtype=np.int64), (3,), 3)])
