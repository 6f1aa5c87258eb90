"""Arguments that objectives share: integers and numbers by one rule, labels, and the generator."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.errors import ArgumentError, CheckpointError
from maskwork.objectives import (
    UL2,
    CausalLM,
    Chat,
    ChatML,
    Curriculum,
    Denoiser,
    DifficultyHistory,
    FillInTheMiddle,
    MaskedLM,
    PackedStream,
    PrefixLM,
    SentencePair,
    Seq2SeqExample,
    SequenceClassification,
    SequenceToSequence,
    SpanCorruption,
    TokenTagging,
    corrupt_spans,
    explain_batch,
    pack_pairs,
    pad,
    pad_pairs,
    with_weights,
)

NO_INTEGERS = [True, False, 2.5, 3.0, "3", b"3", np.bool_(True), np.float64(3.0), torch.tensor(True), torch.tensor(3.0),
               [3], np.array([3, 3]), 1j]  # fmt: skip
NO_NUMBERS = [True, "0.5", np.bool_(True), [0.5], 1j, float("nan"), None]

EXAMPLE = CausalLM().example([5, 6, 7])
PAIR = SequenceToSequence(decoder_start=0).example(([5, 6], [7]))
TEXT = np.array([5, 6])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def encode(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def masked(**options: Any) -> MaskedLM:
    return MaskedLM(**{"mask_token": 3, "vocab_size": 50, **options})


def filling(**options: Any) -> FillInTheMiddle:
    return FillInTheMiddle(**{"prefix_token": 40, "suffix_token": 41, "middle_token": 42, "end_token": 43, **options})


def spans(**options: Any) -> SpanCorruption:
    return SpanCorruption(**{"sentinels": [99, 98], "decoder_start": 0, "end_token": 1, **options})


def mixture(**options: Any) -> UL2:
    return UL2(**{"denoisers": [Denoiser(0.5)], "sentinels": [99, 98], "decoder_start": 0, "end_token": 1, **options})


def stream(**options: Any) -> PackedStream:
    return PackedStream([[1, 2], [3]], **{"max_len": 4, "batch_rows": 1, "objective": CausalLM(), **options})


def resumed(**state: Any) -> PackedStream:
    new = stream()
    new.load_state_dict(new.state_dict() | state)
    return new


#: Every integer of the public objectives: where it goes in, and whether None is one of its values.
INTEGERS: dict[str, tuple[Callable[[Any], object], bool]] = {
    "MaskedLM.mask_token": (lambda x: masked(mask_token=x).mask_token, False),
    "MaskedLM.vocab_size": (lambda x: masked(mask_token=0, vocab_size=x).vocab_size, False),
    "MaskedLM.special_tokens": (lambda x: masked(special_tokens=[x]).special_tokens[0], False),
    "MaskedLM.min_targets": (lambda x: masked(min_targets=x).min_targets, False),
    "PrefixLM.example.split": (lambda x: PrefixLM().example([5, 6], seeded(), split=x), True),
    "PrefixLM.split()": (lambda x: PrefixLM(split=lambda tokens: x).example([5, 6]), False),
    "FillInTheMiddle.prefix_token": (lambda x: filling(prefix_token=x).prefix_token, False),
    "FillInTheMiddle.suffix_token": (lambda x: filling(suffix_token=x).suffix_token, False),
    "FillInTheMiddle.middle_token": (lambda x: filling(middle_token=x).middle_token, False),
    "FillInTheMiddle.end_token": (lambda x: filling(end_token=x).end_token, False),
    "FillInTheMiddle.example.cuts": (lambda x: filling().example(range(20), cuts=(1, x)), False),
    "SpanCorruption.sentinels": (lambda x: spans(sentinels=[x]).sentinels[0], False),
    "SpanCorruption.decoder_start": (lambda x: spans(decoder_start=x).decoder_start, False),
    "SpanCorruption.end_token": (lambda x: spans(end_token=x).end_token, True),
    "SpanCorruption.example.spans": (lambda x: spans().example(range(20), spans=[(2, x)]), False),
    "SpanCorruption.lengths": (lambda x: spans().lengths(x), False),
    "SpanCorruption.longest_document": (lambda x: spans().longest_document(x), False),
    "corrupt_spans.sentinels": (lambda x: corrupt_spans([25, 26, 27, 28], [(1, 4)], [x]), False),
    "Denoiser.mode_token": (lambda x: Denoiser(0.5, mode_token=x).mode_token, True),
    "UL2.sentinels": (lambda x: mixture(sentinels=[x]).sentinels[0], False),
    "UL2.decoder_start": (lambda x: mixture(decoder_start=x).decoder_start, True),
    "UL2.end_token": (lambda x: mixture(end_token=x).end_token, True),
    "UL2.published": (lambda x: UL2.published(x, 4, 5)[0].mode_token, True),
    "SequenceToSequence.decoder_start": (lambda x: SequenceToSequence(x).decoder_start, False),
    "SequenceToSequence.source_end": (lambda x: SequenceToSequence(0, source_end=x).source_end, True),
    "SequenceToSequence.target_end": (lambda x: SequenceToSequence(0, target_end=x).target_end, True),
    "Seq2SeqExample.of.decoder_start": (lambda x: Seq2SeqExample.of(TEXT, TEXT, x), False),
    "SentencePair.cls": (lambda x: SentencePair(cls=x, sep=2, max_len=8).cls, False),
    "SentencePair.sep": (lambda x: SentencePair(cls=2, sep=x, max_len=8).sep, False),
    "SentencePair.max_len": (lambda x: SentencePair(cls=1, sep=2, max_len=x).max_len, False),
    "ChatML.start": (lambda x: ChatML(encode, start=x, end=2).start, False),
    "ChatML.end": (lambda x: ChatML(encode, start=2, end=x).end, False),
    "Chat.max_len": (lambda x: Chat(ChatML(encode, 1, 2), max_len=x).max_len, True),
    "Curriculum.steps": (lambda x: Curriculum(start=0.5, steps=x).steps, False),
    "Curriculum.share": (lambda x: Curriculum(start=0.5, steps=9).share(x), False),
    "PackedStream.max_len": (lambda x: stream(max_len=x), False),
    "PackedStream.batch_rows": (lambda x: stream(batch_rows=x), False),
    "PackedStream.seed": (lambda x: stream(seed=x), False),
    "PackedStream.workers": (lambda x: stream(workers=x), False),
    "PackedStream.buffer": (lambda x: stream(buffer=x), False),
    "PackedStream state epoch": (lambda x: resumed(epoch=x).state_dict()["epoch"], False),
    "PackedStream state batch": (lambda x: resumed(batch=x).state_dict()["batch"], False),
    "pad.multiple_of": (lambda x: pad([EXAMPLE], multiple_of=x), False),
    "pad_pairs.multiple_of": (lambda x: pad_pairs([PAIR], multiple_of=x), False),
    "pack_pairs.max_source": (lambda x: list(pack_pairs([PAIR], x, 9)), False),
    "pack_pairs.max_target": (lambda x: list(pack_pairs([PAIR], 9, x)), False),
    "pack_pairs.open_rows": (lambda x: list(pack_pairs([PAIR], 9, 9, open_rows=x)), False),
    "label of a sequence": (
        lambda x: SequenceClassification("last")([(TEXT, x), (TEXT, None)]).targets[0].item(),
        True,
    ),
    "label of a token": (lambda x: TokenTagging().example((TEXT, [x, 1])).targets[0].item(), True),
    "label of a masked token": (lambda x: masked().example(TEXT, seeded(), labels=[x, 4]), True),
    "BatchExplanation.to_text.width": (lambda x: explain_batch(CausalLM()([[5, 6]])).to_text(x), False),
}

#: Every number that is a float by nature.
NUMBERS: dict[str, tuple[Callable[[Any], object], float]] = {
    "MaskedLM.rate": (lambda x: masked(rate=x).rate, 0.5),
    "MaskedLM.replace": (lambda x: masked(replace=(x, 0.25, 0.25)).replace[0], 0.5),
    "FillInTheMiddle.rate": (lambda x: filling(rate=x).rate, 0.5),
    "FillInTheMiddle.spm_rate": (lambda x: filling(spm_rate=x).spm_rate, 0.5),
    "SpanCorruption.rate": (lambda x: spans(rate=x).rate, 0.5),
    "SpanCorruption.mean_span": (lambda x: spans(mean_span=x).mean_span, 2.5),
    "Denoiser.rate": (lambda x: Denoiser(x).rate, 0.5),
    "Denoiser.probability": (lambda x: Denoiser(0.5, probability=x).probability, 0.5),
    "SentencePair.short": (lambda x: SentencePair(cls=1, sep=2, max_len=8, short=x).short, 0.5),
    "Curriculum.start": (lambda x: Curriculum(start=x, steps=2).start, 0.5),
    "Curriculum.end": (lambda x: Curriculum(start=0.25, steps=2, end=x).end, 0.5),
    "Curriculum.power": (lambda x: Curriculum(start=0.5, steps=2, power=x).power, 2.5),
    "Curriculum.memory": (lambda x: Curriculum(start=0.5, steps=2, memory=x).memory, 0.5),
    "DifficultyHistory.add.memory": (lambda x: DifficultyHistory().add(torch.ones(2), x), 0.5),
    "DifficultyHistory.quantile": (lambda x: DifficultyHistory().add(torch.ones(2)).quantile(x), 0.5),
}


def refused(call: Callable[[Any], object], value: object) -> None:
    with pytest.raises((ArgumentError, CheckpointError)) as caught:
        call(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_is_an_integer(name: str):
    call, optional = INTEGERS[name]
    expected = repr(call(8))
    for kind in (np.int64, np.int32, np.uint8, torch.tensor):
        value = call(kind(8))
        if isinstance(value, int | float | tuple | str):
            assert repr(value) == expected  # of the same type, too
    for wrong in [*NO_INTEGERS, *([] if optional else [None])]:
        refused(call, wrong)
    if optional:
        call(None)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_a_number(name: str):
    call, number = NUMBERS[name]
    for kind in (float, np.float64, np.float32):
        value = call(kind(number))
        if isinstance(value, float):
            assert type(value) is float
    for wrong in NO_NUMBERS:
        refused(call, wrong)


@pytest.mark.parametrize("split", [*NO_INTEGERS[:2], "3", b"3", np.bool_(True), torch.tensor(0.5), None, [3], 1.5, -1])
def test_a_split_is_an_integer_or_a_share(split: object):
    refused(lambda x: PrefixLM(split=x), split)  # pyright: ignore[reportArgumentType]


def test_the_split_of_numpy_is_stored_as_pythons():
    assert [PrefixLM(split=kind(2)).split for kind in (np.int64, np.int32)] == [2, 2]
    assert type(PrefixLM(split=np.int64(2)).split) is int
    assert type(PrefixLM(split=np.float64(0.5)).split) is float


@pytest.mark.parametrize("weights", [["1", "0", "1"], "abc", [1.0, None, 1.0], [[1.0]], [-1.0, 1.0, 1.0], [1e60] * 3])
def test_weights_are_numbers(weights: Any):
    refused(lambda x: with_weights(EXAMPLE, x), weights)
    refused(lambda x: PrefixLM(split=1).example([5, 6, 7], weights=x), weights)
    refused(lambda x: TokenTagging().example(([5, 6, 7], [1, 1, 1], x)), weights)
    refused(lambda x: SequenceClassification("last")([(TEXT, 1, x)]), weights)


@pytest.mark.parametrize("weight", [True, "1", -1.0, float("inf"), np.bool_(True), [1.0]])
def test_the_weight_of_a_message_is_a_number(weight: object):
    chat = Chat(ChatML(encode, 1, 2))
    refused(lambda x: chat.example([{"role": "assistant", "content": "a", "weight": x}]), weight)
    example = chat.example([{"role": "assistant", "content": "a", "weight": np.float32(0.5)}])
    assert set(example.weights.tolist()) == {0.0, 0.5}


def test_a_mask_that_shows_a_later_token_is_refused_at_every_length():
    late = mw.causal() | (mw.band(None, 3) - mw.band(None, 2))  # 3 tokens ahead and nothing between
    assert len(CausalLM(late).example([1, 2, 3]))
    for length in (4, 9, 5):
        with pytest.raises(ArgumentError, match="lets position 0 see 3"):
            CausalLM(late).example(range(length))
    for mask in (mw.causal(), mw.causal() & mw.sliding_window(2), mw.sliding_window(2), mw.within(mw.causal(), [9])):
        assert len(CausalLM(mask).example(range(9))) == 9


@pytest.mark.parametrize("label", [2**64 - 100, 2**63, -3])
def test_a_label_beyond_int64_does_not_wrap_round_to_a_missing_one(label):
    labels = np.array([label], dtype=np.uint64 if label > 0 else np.int64)
    with pytest.raises(ArgumentError, match="labels are whole numbers"):
        SequenceClassification("last")([([5], labels[0])])
    with pytest.raises(ArgumentError, match="labels are whole numbers"):
        MaskedLM(9, 10, rate=1.0).example([5], torch.Generator(), labels=labels)


def test_a_generator_is_torchs():
    with pytest.raises(ArgumentError, match="got Generator; pass torch"):
        MaskedLM(9, 10).example([5, 6], np.random.default_rng(0))  # pyright: ignore
    with pytest.raises(ArgumentError, match="got int"):
        PrefixLM().example([5, 6], 7)  # pyright: ignore
