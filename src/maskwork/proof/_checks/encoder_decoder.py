"""Encoder-decoder models: three masks, each judged in a view of the model that holds the other sequence still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ...errors import ArgumentError
from ...masks import Mask, causal, full
from .._expect import through
from .._probes.black_box import Sets, Whole
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._verdicts.cause import cause_of
from .._verdicts.outcome import Outcome, finding, shortest
from .._verdicts.picture import picture

PARTS = ("encoder", "decoder", "cross")


def is_encoder_decoder(subject: Subject) -> bool:
    """Whether the model takes two sequences."""
    return subject.accepts("input_ids", "decoder_input_ids") and not subject.inputs.is_floating_point()


def three_masks(expect: Any) -> dict[str, Mask]:
    """A mapping of masks as given, with what it leaves out; one mask is the decoder's."""
    usual = {"encoder": full(), "decoder": causal(), "cross": full()}
    if not isinstance(expect, Mapping):
        return usual if expect is None else {**usual, "decoder": expect}
    if unknown := [name for name in expect if name not in PARTS]:
        raise ArgumentError(f"the masks of an encoder-decoder model are {', '.join(PARTS)}, got {unknown[0]!r}")
    return {**usual, **expect}


def encoder_view(subject: Subject) -> Subject:
    """Inputs are the encoder's, outputs its last hidden states; the decoder's tokens stay."""
    return replace(
        subject, name="input_ids", fixed={"decoder_input_ids": _other(subject)}, pick="encoder_last_hidden_state"
    )


def decoder_view(subject: Subject) -> Subject:
    """Inputs and outputs are the decoder's; the encoder's tokens stay, and its mask is not the decoder's."""
    speak_of_encoder = frozenset({"attention_mask", "position_ids"})
    return replace(subject, name="decoder_input_ids", fixed={"input_ids": _other(subject)}, refuses=speak_of_encoder)


def check_cross(subject: Subject, masks: dict[str, Mask], enc: torch.Tensor, dec: torch.Tensor) -> Outcome:
    """What of the encoder's input may influence which output; `enc`, `dec` are the reach of either side."""
    decoder = _other(subject)
    view = replace(subject, name="input_ids", fixed={"decoder_input_ids": decoder}, out_length=decoder.shape[1])
    q_len, kv_len = decoder.shape[1], subject.length
    step = torch.from_numpy(masks["cross"].bind(q_len, kv_len, q_start=0).dense()[0].any(0))
    reach = through(dec[:q_len, :q_len], through(step, enc))
    whole = Whole(view)
    sets = Sets.of(reach)
    if len(sets.keys):
        effect = whole.forbidden(sets).effect
        if (effect > 0).any():
            seen = whole.pairs() > 0
            leaks = seen & ~reach
            if not leaks.any():
                raise CannotRun("inputs leak together but none alone: shorten the sequence and look at pairs")
            worst = int(effect.amax(1).argmax())
            place = locate(view, sets.keys[worst], sets.queries[worst])
            pair = shortest(leaks)
            drawn = picture(reach, seen, *pair)
            cause, words = cause_of(leaks, seen, reach), "from the encoder's input to the decoder's output"
            leak = finding("mask", pair, float(effect.max()), int(leaks.sum()), cause, place, words, drawn)
            return Outcome([leak], "cross: leak")
    if not (whole.pairs() > 0).any():
        return Outcome(warning="no token of the encoder reaches the decoder's output")
    return Outcome(evidence=f"cross: {int((~reach).sum())} forbidden pairs, no output changes by a bit")


def _other(subject: Subject) -> torch.Tensor:
    """`(1, L - 3)`: the other sequence, of another length so that the two axes cannot be taken for each other."""
    return subject.inputs.flip(0)[: max(2, subject.length - 3)][None]
