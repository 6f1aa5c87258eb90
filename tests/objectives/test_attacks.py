"""Inputs that are wrong, or unusual and right, and were once taken in silence for something else."""

import numpy as np
import pytest
import torch

from maskwork.data import PackedRow, pack
from maskwork.errors import ArgumentError, CheckpointError
from maskwork.objectives import (
    UL2,
    CausalLM,
    Chat,
    ChatML,
    Curriculum,
    Denoiser,
    MaskedLM,
    PackedStream,
    PrefixLM,
    SentencePair,
    SequenceClassification,
    SpanCorruption,
    Tagged,
    TokenTagging,
)


@pytest.mark.parametrize("split", [np.float32(0.5), True, lambda tokens: 2.5, -1])
def test_a_split_that_is_no_number_of_tokens_is_refused(split):
    with pytest.raises(ArgumentError, match=r"split(\(tokens\))? must be"):
        PrefixLM(split=split)([[5, 6, 7, 8]])


def test_a_tokenizer_that_adds_a_beginning_to_each_piece_is_refused():
    with pytest.raises(ArgumentError, match="add_special_tokens=False"):
        ChatML(lambda text: [9, *map(ord, text)], start=1, end=2)
    with pytest.raises(ArgumentError, match="two tokens"):
        ChatML(lambda text: [*map(ord, text)], start=2, end=2)


@pytest.mark.parametrize("message", [{"role": "a\x02", "content": "x"}, {"role": "a", "content": "\x01"}])
def test_neither_role_nor_text_can_begin_or_end_a_turn(message):
    with pytest.raises(ArgumentError, match="never make"):
        Chat(ChatML(lambda text: [*map(ord, text)], start=1, end=2), roles=(message["role"],))([[message]])


@pytest.mark.parametrize("token", [-1, 1.5])
def test_what_a_chats_tokenizer_gives_is_checked(token):
    with pytest.raises(ArgumentError, match="flat sequence of token ids"):
        Chat(ChatML(lambda text: [token] * len(text), 1, 2))([[{"role": "assistant", "content": "x"}]])


def test_a_pairs_own_tokens_must_be_special():
    with pytest.raises(ArgumentError, match="never masked"):
        SentencePair(cls=1, sep=2, max_len=8, masked_lm=MaskedLM(9, 10, special_tokens=(1,)))


@pytest.mark.parametrize(("cls", "first"), [(1, [5, 1]), (1, [2]), (-1, [5]), (1.5, [5])])
def test_a_pairs_own_tokens_are_ids_and_stand_in_no_text(cls, first):
    with pytest.raises(ArgumentError, match="got"):
        SentencePair(cls=cls, sep=2, max_len=8)([(first, [6], True)], torch.Generator())


@pytest.mark.parametrize("label", [2**64 - 100, 2**63, -3])
def test_a_label_beyond_int64_does_not_wrap_round_to_a_missing_one(label):
    labels = np.array([label], dtype=np.uint64 if label > 0 else np.int64)
    with pytest.raises(ArgumentError, match="labels are whole numbers"):
        SequenceClassification("last")([([5], labels[0])])
    with pytest.raises(ArgumentError, match="labels are whole numbers"):
        MaskedLM(9, 10, rate=1.0).example([5], torch.Generator(), labels=labels)


@pytest.mark.parametrize("settings", [{"min_targets": -1}, {"min_targets": 1.5}, {"vocab_size": 10.0}])
def test_a_number_of_tokens_is_whole(settings):
    with pytest.raises(ArgumentError, match=r"(min_targets|vocab_size) must be"):
        MaskedLM(**{"mask_token": 9, "vocab_size": 10, **settings})


def test_a_row_of_padding_alone_is_refused():
    with pytest.raises(ArgumentError, match="got padding alone"):
        CausalLM()([PackedRow(np.zeros(3, dtype=np.int64), (3,), 3)])


def test_a_generator_is_torchs():
    with pytest.raises(ArgumentError, match="got Generator; pass torch"):
        MaskedLM(9, 10).example([5, 6], np.random.default_rng(0))  # pyright: ignore
    with pytest.raises(ArgumentError, match="got int"):
        PrefixLM().example([5, 6], 7)  # pyright: ignore


def test_a_rank_without_a_batch_has_nothing_easy():
    assert Curriculum(start=0.5, steps=2).easiest([], [], 0) == []


def test_a_sentinel_is_no_end_and_no_mode():
    with pytest.raises(ArgumentError, match="got 8"):
        SpanCorruption([9, 8, 7], decoder_start=0, end_token=8)
    for tokens in ({"end_token": 7}, {"end_token": 9, "mode": 50}):
        with pytest.raises(ArgumentError, match="for nothing else"):
            UL2([Denoiser(0.5, mode_token=tokens.pop("mode", 9))], [9, 8, 7], decoder_start=0, **tokens)


def test_a_word_before_the_first_is_refused():
    with pytest.raises(ArgumentError, match="got word -1 at token 0"):
        TokenTagging().example(Tagged([5, 6], [1], words=[-1, 0]))


def test_the_second_text_of_a_pair_has_words_of_its_own():
    objective = MaskedLM(90, 91, rate=0.5, min_targets=0)
    generator = torch.Generator().manual_seed(0)
    words = [0, 0, None, 0, 0]
    chosen = {
        tuple((objective.example([5, 6, 1, 7, 8], generator, word_ids=words).targets >= 0).tolist()) for _ in range(50)
    }
    first, second = (True, True, False, False, False), (False, False, False, True, True)
    assert chosen == {first, second, (False,) * 5, (True, True, False, True, True)}


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, CausalLM().example])
def test_a_reader_may_fill_one_array_again_and_again(make):
    buffer = np.zeros(3, dtype=np.int64)

    def documents():
        for number in (1, 2, 3):
            buffer[:] = number
            yield make(buffer)

    assert [row.tokens.tolist() for row in pack(documents(), 3)] == [[n] * 3 for n in (1, 2, 3)]


def stream(documents=((1, 2), (3, 4)), **options):
    return PackedStream(documents, 2, 1, CausalLM(), strategy="sequential", **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_beyond_the_end_of_the_source_is_refused(workers):
    state = stream([[1, 2]] * 5).state_dict() | {"batch": 4}
    shorter = stream(workers=workers)
    shorter.load_state_dict(state)
    with pytest.raises(CheckpointError, match="got a source of 2 batches in epoch 0, of which 4 batches were taken"):
        list(shorter)
    at_the_end = stream(workers=workers)
    at_the_end.load_state_dict(state | {"batch": 2})
    assert list(at_the_end) == []


@pytest.mark.parametrize("change", [{"batch": -1}, {"batch": 1.5}, {"epoch": "0"}, {"epoch": None}])
def test_a_state_that_is_none_is_refused(change):
    with pytest.raises(CheckpointError, match="counts epochs and batches"):
        stream().load_state_dict(stream().state_dict() | change)
