"""Every objective's batch explains itself: without warnings, and with the reasons of its definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.objectives import (
    UL2,
    CausalLM,
    Chat,
    ChatML,
    Denoiser,
    FillInTheMiddle,
    MaskedLM,
    PrefixLM,
    SentencePair,
    Seq2SeqExample,
    SequenceClassification,
    SequenceToSequence,
    SpanCorruption,
    TextPair,
    TokenTagging,
    collate_pairs,
    explain_batch,
    pack_pairs,
)

DOCUMENTS = [[5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 11, 12], [5, 6, 7, 5, 8]]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize(
    ("objective", "reasons"),
    [
        (CausalLM(), {"SCORED", "DOCUMENT_END", "PADDING"}),
        (MaskedLM(20, 21, rate=0.5, replace=(0.5, 0.25, 0.25)), {"MASKED", "RANDOM", "KEPT", "NOT_CHOSEN", "PADDING"}),
        (PrefixLM(), {"SCORED", "CONTEXT", "DOCUMENT_END", "PADDING"}),
        (FillInTheMiddle(16, 17, 18, end_token=19, loss_on="middle", rate=1.0),
         {"SCORED", "CONTEXT", "TEMPLATE", "DOCUMENT_END", "PADDING"}),
    ],
)  # fmt: skip
def test_no_objective_of_one_side_gets_a_warning(objective: object, reasons: set[str]):
    batch = objective(DOCUMENTS * 4, generator())
    explained = explain_batch(batch)
    assert explained.warnings == ()
    assert set(explained.reasons) == reasons
    assert explained.summary.scored == batch.n_targets
    assert explain_batch(replace(batch, reasons=None)).warnings == ()


def test_a_chat_names_roles_and_template():
    chat = Chat(ChatML(lambda text: [ord(letter) for letter in text], start=1, end=2))
    batch = chat([[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]])
    explained = explain_batch(batch, chr)
    assert explained.warnings == ()
    assert set(explained.reasons) == {"SCORED", "TEMPLATE", "ROLE_NOT_TRAINED", "DOCUMENT_END"}
    assert [token.target_text for token in explained.rows[0].tokens if token.scored] == ["H", "o", r"\x02"]


def test_an_encoder_and_a_decoder_have_a_row_each():
    batch = SequenceToSequence(decoder_start=0)([([5, 6, 7], [8, 9]), ([5], [6])])
    explained = explain_batch(batch)
    assert explained.warnings == ()
    assert [(row.row, row.side) for row in explained.rows] == [
        (i, side) for i in (0, 1) for side in ("encoder", "decoder")
    ]
    assert [token.id for token in explained.rows[0].tokens] == [5, 6, 7]
    assert [token.reason for token in explained.rows[2].tokens] == ["READ", "PADDING", "PADDING"]
    assert [(token.id, token.target) for token in explained.rows[1].tokens] == [(0, 8), (8, 9)]
    assert explained.summary.scored == batch.n_targets == 3
    assert "row 1 decoder: 1 of 1 token scored" in explained.to_text()
    assert "row 1 decoder: 1 of 1 token scored" in explained.to_html()


def test_masks_between_encoder_and_decoder_are_checked():
    batch = SequenceToSequence(decoder_start=0)([([5, 6, 7], [8, 9]), ([5], [6])])
    blind = replace(batch, cross_mask=mw.full())
    assert [warning.text for warning in explain_batch(blind).warnings] == [
        "row 1, decoder position 0: the mask lets document 0 see padding, at encoder position 1"
    ]
    future = replace(batch, decoder_mask=mw.full())
    assert "row 0, decoder position 0: the mask shows it the next token, which it predicts" in {
        warning.text for warning in explain_batch(future).warnings
    }


def test_a_start_token_that_also_ends_is_no_mistake():
    """BART's decoders start with the token that ends their targets: two packed pairs are not joined by it."""
    pairs = [Seq2SeqExample.of(np.array([5, 6]), np.array([7, 2]), 2) for _ in range(2)]
    assert explain_batch(collate_pairs(list(pack_pairs(pairs, max_source=4, max_target=4)))).warnings == ()


@pytest.mark.parametrize("read", ["last", "first", "mean"])
def test_a_sequence_has_one_target_and_the_tokens_that_it_is_read_at(read: str):
    batch = SequenceClassification(read=read)([([1, 2, 3], 0), ([4], 1), ([5, 6], 1)])
    explained = explain_batch(batch, labels=["no", "yes"])
    assert explained.warnings == ()
    assert [row.sequence.target_text for row in explained.rows] == ["no", "yes", "yes"]
    pooled = [[token.index for token in row.tokens if token.reason == "POOLED"] for row in explained.rows]
    assert pooled == {"last": [[2], [0], [1]], "first": [[0]] * 3, "mean": [[0, 1, 2], [0], [0, 1]]}[read]
    assert str(explained.summary) == "3 of 3 sequences scored (100.0%), weight 3, 3 documents, 3 padding"
    assert "the sequence's target: yes, SCORED" in explained.to_text()
    unscored = replace(batch, weights=torch.tensor([1.0, 0.0, 1.0]))
    assert [row.sequence.reason for row in explain_batch(unscored).rows] == ["SCORED", "ZERO_WEIGHT", "SCORED"]


def test_span_corruption_and_ul2():
    corrupted = SpanCorruption(sentinels=[30, 29, 28, 27, 26, 25], decoder_start=0, end_token=1)
    denoisers = [Denoiser(0.15, 3, mode_token=31), Denoiser(0.5, mode_token=32)]
    mixture = UL2(denoisers, sentinels=[30, 29, 28, 27, 26, 25], decoder_start=0, end_token=1)
    for objective in (corrupted, mixture):
        batch = objective(DOCUMENTS, generator())
        explained = explain_batch(batch)
        assert explained.warnings == ()
        assert set(explained.reasons) >= {"READ", "SCORED"}
        assert explained.summary.scored == batch.n_targets


def test_tags_have_names():
    batch = TokenTagging()([([5, 6, 7], [0, None, 2])])
    explained = explain_batch(batch, labels=["DET", "NOUN", "VERB"])
    assert explained.warnings == ()
    assert [token.target_text for token in explained.rows[0].tokens] == ["DET", "", "VERB"]
    assert [token.reason for token in explained.rows[0].tokens] == ["SCORED", "MISSING_LABEL", "SCORED"]


def test_sentence_pairs_show_their_masked_targets_too():
    masked = MaskedLM(20, 21, special_tokens=(1, 2), rate=0.5, replace=(1, 0, 0))
    batch = SentencePair(cls=1, sep=2, max_len=9, masked_lm=masked)([TextPair([5, 6, 7], [8], True)], generator())
    explained = explain_batch(batch, lambda token: f"word{token}", labels=["stranger", "next"])
    assert explained.warnings == ()
    assert explained.rows[0].sequence.target_text == "next"
    assert explained.summary.scored == batch.masked.n_targets > 0
    assert [token.target for token in explained.rows[0].tokens] == batch.masked.targets[0].tolist()
    assert {token.target_text for token in explained.rows[0].tokens} <= {"", "word5", "word6", "word7", "word8"}
