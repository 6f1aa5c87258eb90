"""Pairs of source and target: teacher forcing, the three masks by definition, packing, and transformers' T5."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from maskwork.data import Reason
from maskwork.errors import ArgumentError, CannotExpress
from maskwork.objectives import (
    IGNORED,
    Seq2SeqExample,
    Seq2SeqRow,
    SequenceToSequence,
    collate_pairs,
    masked_cross_entropy,
    pack_pairs,
    pad,
    pad_pairs,
)

START, END = 0, 1
sides = st.lists(st.integers(2, 9), min_size=1, max_size=5)
pairs_of = st.lists(st.tuples(sides, sides), min_size=1, max_size=6)


def objective(**settings):
    return SequenceToSequence(START, **settings)


@given(pairs_of, st.booleans(), st.data())
def test_teacher_forcing_by_hand(pairs, ends, data):
    made = objective(source_end=END, target_end=END) if ends else objective()
    for source, target in pairs:
        weights = [data.draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in target]
        example = made.example((source, target), weights=weights)
        worth = weights + [1.0] * ends
        target = target + [END] * ends
        assert example.source.tokens.tolist() == source + [END] * ends
        assert (example.source.targets == IGNORED).all()
        assert (example.source.reasons == Reason.CONTEXT).all()
        read = START
        for i, token in enumerate(target):
            assert example.target.tokens[i] == read
            assert example.target.targets[i] == (token if worth[i] else IGNORED)
            assert example.target.weights[i] == worth[i]
            assert example.target.reasons[i] == (Reason.SCORED if worth[i] else Reason.ZERO_WEIGHT)
            read = token


def check_masks(batch, rows):
    """Each cell of the three masks from the rows' lengths, in loops."""

    def places(row):
        at = [(number, i) for number, length in enumerate(row.document_lengths) for i in range(length)]
        padding = [(None, i) for i in range(row.padding)]
        return at + padding if row.side == "right" else padding + at

    count, sources, targets = len(rows), batch.input_ids.shape[1], batch.decoder_input_ids.shape[1]
    encoder = batch.mask.bind(sources, batch=count).dense()
    decoder = batch.decoder_mask.bind(targets, batch=count).dense()
    cross = batch.cross_mask.bind(targets, sources, q_start=0, batch=count).dense()
    for b, row in enumerate(rows):
        source, target = places(row.source), places(row.target)
        cells = np.broadcast_to(encoder, (count, 1, sources, sources))[b, 0]
        for q, k in np.ndindex(sources, sources):
            assert cells[q, k] == (source[q][0] == source[k][0])
        cells = np.broadcast_to(decoder, (count, 1, targets, targets))[b, 0]
        for q, k in np.ndindex(targets, targets):
            same = target[q][0] == target[k][0]
            assert cells[q, k] <= same
            if target[q][0] is not None:
                assert cells[q, k] == (same and k <= q)
        assert cells.any(axis=1).all()  # padding sees padding, so that no softmax is over nothing
        cells = np.broadcast_to(cross, (count, 1, targets, sources))[b, 0]
        for q, k in np.ndindex(targets, sources):
            assert cells[q, k] == (target[q][0] == source[k][0] is not None)
        assert batch.document_ids[b].tolist() == [-1 if d is None else d for d, _ in source]
        assert batch.decoder_document_ids[b].tolist() == [-1 if d is None else d for d, _ in target]
        assert batch.position_ids[b].tolist() == [i for _, i in source]
        assert batch.decoder_position_ids[b].tolist() == [i for _, i in target]


@settings(max_examples=40)
@given(pairs_of, st.sampled_from(["right", "left"]), st.integers(1, 4))
def test_padded_pairs_see_what_they_may(pairs, side, multiple_of):
    rows = pad_pairs([objective().example(pair) for pair in pairs], side=side, multiple_of=multiple_of)
    batch = collate_pairs(rows)
    assert batch.input_ids.shape[1] % multiple_of == batch.decoder_input_ids.shape[1] % multiple_of == 0
    assert batch.n_targets == batch.weight_sum == sum(len(target) for _, target in pairs)
    check_masks(batch, rows)


@settings(max_examples=40)
@given(pairs_of, st.integers(5, 12), st.integers(5, 12), st.integers(1, 3))
def test_packed_pairs_see_what_they_may_and_none_is_lost(pairs, max_source, max_target, open_rows):
    examples = [objective().example(pair) for pair in pairs]
    rows = list(pack_pairs(examples, max_source, max_target, open_rows=open_rows))
    check_masks(collate_pairs(rows), rows)
    packed = [
        (source.tolist(), [*target.tokens[1:].tolist(), int(target.targets[-1])])
        for row in rows
        for source, target in zip(row.source.documents, row.target.examples, strict=True)
    ]
    assert sorted(packed) == sorted(pairs)


def first_fit(pairs, max_source, max_target, open_rows):
    """The rows as lists of pairs' numbers, by the definition."""
    held, out = [], []
    for number, (source, target) in enumerate(pairs):
        for row in held:
            if row["source"] + len(source) <= max_source and row["target"] + len(target) <= max_target:
                break
        else:
            if len(held) == open_rows:
                out.append(held.pop(0))
            row = {"source": 0, "target": 0, "numbers": []}
            held.append(row)
        row["source"] += len(source)
        row["target"] += len(target)
        row["numbers"].append(number)
    return [row["numbers"] for row in out + held]


@given(pairs_of, st.integers(1, 3))
def test_packing_is_first_fit(pairs, open_rows):
    examples = [objective().example(pair) for pair in pairs]
    number = {id(example.target): i for i, example in enumerate(examples)}
    rows = pack_pairs(examples, 8, 7, open_rows=open_rows)
    found = [[number[id(target)] for target in row.target.examples] for row in rows]
    assert found == first_fit(pairs, 8, 7, open_rows)


class EncoderDecoder(torch.nn.Module):
    """One layer of each attention, in float64: enough for a leak to show."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.places = (torch.nn.Embedding(12, 8, dtype=torch.float64) for _ in range(2))

    def read(self, ids, places):
        return self.tokens(ids) + self.places(places)

    @staticmethod
    def attend(x, memory, bound):
        return x + mw.attention(x[:, None], memory[:, None], memory[:, None], bound)[:, 0]

    def forward(self, batch):
        (rows, sources), targets = batch.input_ids.shape, batch.decoder_input_ids.shape[1]
        memory = self.read(batch.input_ids, batch.position_ids)
        memory = self.attend(memory, memory, batch.mask.bind(sources, batch=rows))
        x = self.read(batch.decoder_input_ids, batch.decoder_position_ids)
        x = self.attend(x, x, batch.decoder_mask.bind(targets, batch=rows))
        x = self.attend(x, memory, batch.cross_mask.bind(targets, sources, q_start=0, batch=rows))
        logits = x @ self.tokens.weight.T
        loss = masked_cross_entropy(logits, batch.targets, batch.weights).loss
        return loss, torch.autograd.grad(loss, list(self.parameters()))


def test_packed_pairs_have_the_loss_and_gradients_of_padded_ones():
    random = np.random.default_rng(1)
    pairs = [(random.integers(2, 12, n), random.integers(2, 12, m)) for n, m in random.integers(1, 6, (9, 2))]
    examples = [objective(target_end=END).example(pair) for pair in pairs]
    model = EncoderDecoder()
    padded = model(collate_pairs(pad_pairs(examples)))
    batch = collate_pairs(list(pack_pairs(examples, 11, 12)))
    assert batch.document_ids.max() > 0
    torch.testing.assert_close(model(batch), padded, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model(collate_pairs(pad_pairs(examples, side="left"))), padded, rtol=1e-12, atol=1e-12)


def tiny_t5():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=12,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=START,
    )
    return transformers.T5ForConditionalGeneration(config).eval()


def tiny_bart():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BartConfig(
        vocab_size=12, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32,
        dropout=0.0,
    )  # fmt: skip
    return transformers.BartForConditionalGeneration(config).eval()


@pytest.mark.parametrize("make", [tiny_t5, tiny_bart])
def test_transformers_models_give_the_same_loss(make):
    model = make()
    pairs = [([5, 6, 7], [8, 9]), ([5], [6, 7, 8, 9]), ([9, 9], [2])]
    batch = objective(source_end=END, target_end=END)(pairs)
    with torch.no_grad():
        out = model(**batch.to_hf())
        alone = [model(**objective(source_end=END, target_end=END)([pair]).to_hf()).loss for pair in pairs]
    ours = masked_cross_entropy(out.logits, batch.targets, batch.weights).loss
    torch.testing.assert_close(ours, out.loss)
    counts = torch.tensor([len(target) + 1.0 for _, target in pairs])
    torch.testing.assert_close(out.loss, (torch.stack(alone) * counts).sum() / counts.sum())


def test_t5_makes_the_same_decoder_inputs_from_the_labels():
    """transformers shifts labels right itself where no decoder_input_ids are given."""
    model = tiny_t5()
    given = objective(target_end=END)([([5, 6, 7], [8, 9]), ([5], [6, 7, 8, 9])]).to_hf()
    without = {name: tensor for name, tensor in given.items() if name != "decoder_input_ids"}
    with torch.no_grad():
        torch.testing.assert_close(model(**without).loss, model(**given).loss)


def test_hf_refuses_what_it_cannot_say():
    examples = [objective().example(pair) for pair in [([5, 6, 7], [8, 9]), ([5], [6])]]
    with pytest.raises(CannotExpress, match="got 2 pairs in a row"):
        collate_pairs(list(pack_pairs(examples, 4, 4))).to_hf()
    batch = collate_pairs(pad_pairs(examples))
    with pytest.raises(CannotExpress, match="weights other than 1"):
        dataclasses.replace(batch, weights=batch.weights * 0.5).to_hf()
    for name, mask in (
        ("mask", mw.causal()),
        ("mask", mw.full()),
        ("decoder_mask", mw.full()),
        ("decoder_mask", mw.sliding_window(1)),
        ("cross_mask", mw.causal()),
        ("cross_mask", mw.full()),
    ):
        with pytest.raises(CannotExpress, match=f"got {name} = "):
            dataclasses.replace(batch, **{name: mask}).to_hf()


def test_a_batch_checks_and_moves_its_tensors():
    batch = objective()([([5, 6, 7], [8, 9]), ([5], [6])])
    moved = batch.to("meta")
    assert moved.input_ids.device.type == moved.targets.device.type == moved.reasons.device.type == "meta"
    assert moved.cross_mask == batch.cross_mask
    assert batch.scored.tolist() == [[True, True], [True, False]]
    with pytest.raises(ArgumentError, match=r"targets .* like its decoder_input_ids \(2, 2\), got .* \(2, 1\)"):
        dataclasses.replace(batch, targets=batch.targets[:, :1])
    with pytest.raises(ArgumentError, match=r"document_ids .* like its input_ids \(2, 3\)"):
        dataclasses.replace(batch, document_ids=batch.decoder_document_ids)
    names = ("input_ids", "position_ids", "document_ids")
    with pytest.raises(ArgumentError, match="read the same rows, got 1 and 2"):
        dataclasses.replace(batch, **{name: getattr(batch, name)[:1] for name in names})


def test_errors():
    with pytest.raises(ArgumentError, match="got 1 and 0; append an end token"):
        objective()([([5], [])])
    with pytest.raises(ArgumentError, match="got 0 and 1"):
        objective()([([], [5])])
    assert objective(source_end=END, target_end=END)([([], [])]).targets.tolist() == [[END]]
    with pytest.raises(ArgumentError, match="got 3 of them"):
        objective()([([5], [6], [7])])
    with pytest.raises(ArgumentError, match="at least one example"):
        objective()([])
    with pytest.raises(ArgumentError, match="got -100"):
        objective()([([5], [-100, 6])])
    with pytest.raises(ArgumentError, match="one weight for each of 2"):
        objective().example(([5], [6, 7]), weights=[1.0])
    with pytest.raises(ArgumentError, match="decoder_start must be an integer, got None"):
        SequenceToSequence(None)
    example = objective().example(([5, 6], [7]))
    with pytest.raises(ArgumentError, match="got 2 and 1 in pair 0"):
        list(pack_pairs([example], 1, 9))
    with pytest.raises(ArgumentError, match="open_rows must be at least 1"):
        list(pack_pairs([example], 9, 9, open_rows=0))
    one, two = pad([example.source]), pad([example.source, example.source])
    with pytest.raises(ArgumentError, match="got 0 sources and 1 targets"):
        Seq2SeqRow(dataclasses.replace(one[0], examples=()), two[0])
    with pytest.raises(ArgumentError, match="weights are finite"):
        Seq2SeqExample.of(np.array([5]), np.array([6]), START, weights=[float("nan")])
