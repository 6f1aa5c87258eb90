"""`SequenceClassification` and `SequenceBatch.pool` against loops, padded on both sides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, Reason, SequenceBatch, SequenceClassification, masked_cross_entropy

READ = st.sampled_from(["last", "first", "mean"])
SIDE = st.sampled_from(["right", "left"])


@st.composite
def sequences(draw):
    out = []
    for _ in range(draw(st.integers(1, 4))):
        tokens = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))  # 0 is a token like any other
        label = draw(st.one_of(st.none(), st.just(IGNORED), st.integers(0, 2)))
        out.append((tokens, label, draw(st.sampled_from([0.0, 0.25, 1.0]))))
    return out


def embed(batch, table):
    """(B, L, D) hidden states, NaN on padding."""
    return table[batch.input_ids].masked_fill(~batch.real[..., None], float("nan")).requires_grad_()


@given(sequences(), READ, SIDE)
def test_equals_the_loop(given_sequences, read, side):
    batch = SequenceClassification(read=read, side=side)(given_sequences)
    length = max(len(tokens) for tokens, _, _ in given_sequences)
    table = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hidden = embed(batch, table)
    pooled = batch.pool(hidden)
    pooled.sum().backward()
    for b, (tokens, label, weight) in enumerate(given_sequences):
        begin = length - len(tokens) if side == "left" else 0
        inside = slice(begin, begin + len(tokens))
        assert batch.input_ids[b, inside].tolist() == tokens
        assert batch.position_ids[b, inside].tolist() == list(range(len(tokens)))
        assert batch.real[b].tolist() == [begin <= at < begin + len(tokens) for at in range(length)]
        assert batch.lengths[b] == len(tokens)
        assert (batch.first[b], batch.last[b]) == (begin, begin + len(tokens) - 1)
        expected = {"last": table[tokens[-1]], "first": table[tokens[0]], "mean": table[tokens].mean(0)}[read]
        torch.testing.assert_close(pooled[b], expected, rtol=1e-14, atol=1e-14)
        shares = torch.zeros(length, dtype=torch.float64)
        shares[inside] = 1 / len(tokens) if read == "mean" else 0
        if read != "mean":
            shares[begin if read == "first" else begin + len(tokens) - 1] = 1
        torch.testing.assert_close(hidden.grad[b], shares[:, None].expand(-1, 3))
        missing = label is None or label == IGNORED
        assert batch.targets[b] == (IGNORED if missing or not weight else label)
        assert batch.weights[b] == (0 if missing else weight)
        reason = Reason.MISSING_LABEL if missing else Reason.SCORED if weight else Reason.ZERO_WEIGHT
        assert batch.reasons[b] == reason
    assert batch.n_targets == int((batch.targets != IGNORED).sum())
    assert batch.weight_sum == pytest.approx(float(batch.weights.sum()))


@given(sequences(), READ)
def test_both_sides_give_the_same(given_sequences, read):
    table = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    right, left = (SequenceClassification(read=read, side=side)(given_sequences) for side in ("right", "left"))
    # Within float32 round-off: the mean adds the same numbers with zeros before or after them.
    torch.testing.assert_close(right.pool(embed(right, table)), left.pool(embed(left, table)))
    assert right.targets.equal(left.targets)


@pytest.mark.parametrize("read", ["last", "first", "mean"])
@pytest.mark.parametrize("own", [mw.full(), mw.causal()])
def test_a_transformers_answer_does_not_depend_on_the_side(read, own):
    torch.manual_seed(0)
    config = mw.models.ModelConfig(vocab_size=16, layers=2, width=16, heads=2, kv_heads=1, hidden=24, context=8)
    model = mw.models.Transformer(config).double()
    head = torch.nn.Linear(16, 3).double()
    data = [([1, 2, 3, 4], 0), ([5], 1), ([6, 7, 0], 2)]
    outs = []
    for side in ("right", "left"):
        batch = SequenceClassification(read=read, mask=own, side=side)(data)
        logits = head(batch.pool(model(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)))
        outs.append(masked_cross_entropy(logits, batch.targets, batch.weights).loss)
        alone = torch.stack([
            head(
                SequenceClassification(read=read, mask=own)([pair]).pool(
                    model(torch.tensor([pair[0]]), mask=own)
                )
            )[0]
            for pair in data
        ])  # fmt: skip
        torch.testing.assert_close(logits, alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-12, atol=1e-12)


def test_the_running_example():
    batch = SequenceClassification(read="last")([([1, 2, 3], 0), ([1, 2, 3, 4, 5], 1), ([1, 2, 3, 4], 0)])
    assert batch.last.tolist() == [2, 4, 3]


def test_half_precision_is_averaged_in_float32():
    n = 4096
    batch = SequenceClassification(read="mean")([([1] * n, 0)])
    hidden = torch.ones(1, n, 1, dtype=torch.bfloat16)
    pooled = batch.pool(hidden)
    assert pooled.dtype == torch.bfloat16
    assert pooled.item() == 1.0


def test_to_keeps_everything():
    batch = SequenceClassification(read="first")([([1, 2], 0)])
    moved = batch.to("meta")
    assert isinstance(moved, SequenceBatch)
    assert moved.targets.device.type == "meta"
    assert (moved.mask, moved.read) == (batch.mask, batch.read)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least one example"),
        ([[[1, 2], 0]], "is a tuple"),
        ([([1, 2],)], "is a tuple"),
        ([([1, 2], 0), ([1], -7)], "got -7 as label 1"),
        ([([1, 2], 0.5)], "whole numbers"),
        ([([1, 2], 0, -1.0)], "finite numbers >= 0"),
        ([([1.0], 0)], "as example 0"),
    ],
)
def test_refuses(data, message):
    with pytest.raises(ArgumentError, match=message):
        SequenceClassification(read="last")(data)


def test_refuses_an_empty_sequence():
    with pytest.raises(ArgumentError):
        SequenceClassification(read="last")([([1], 0), ([], 1)])
    with pytest.raises(ArgumentError):
        SequenceClassification(read="last")([([], 1)])


def test_refuses_other_shapes_and_reads():
    with pytest.raises(ArgumentError, match="one of last, first, mean, got 'max'"):
        SequenceClassification(read="max")
    batch = SequenceClassification(read="last")([([1, 2], 0)])
    with pytest.raises(ArgumentError, match=r"pool reads hidden states .* got \(1, 2\)"):
        batch.pool(torch.zeros(1, 2))
    arguments = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    with pytest.raises(ArgumentError, match="targets must be"):
        SequenceBatch(**arguments | {"targets": torch.zeros(1, 2, dtype=torch.int64)})
    with pytest.raises(ArgumentError, match="without any"):
        SequenceBatch(**arguments | {"document_ids": torch.full((1, 2), -1)})
    with pytest.raises(ArgumentError, match="got 'max'"):
        SequenceBatch(**arguments | {"read": "max"})
    with pytest.raises(ArgumentError, match="must be"):
        SequenceBatch(**arguments | {"input_ids": torch.zeros(2, dtype=torch.int64)})


def test_the_mask_keeps_padding_apart():
    batch = SequenceClassification(read="last", side="left")([([1, 2, 3], 0), ([4], 1)])
    dense = np.broadcast_to(batch.mask.bind(3, batch=2).dense(), (2, 1, 3, 3))
    assert dense[1, 0].tolist() == [[True, True, False], [True, True, False], [False, False, True]]
