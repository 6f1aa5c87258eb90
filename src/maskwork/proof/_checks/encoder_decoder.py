"""Encoder-decoder models: three masks, each judged in a view of the model that holds the other sequence still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ...errors import ArgumentError
from ...masks import Mask, causal, full
from .._expect import through
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._probes.whole_model import BlackBox, ForbiddenSets
from .._verdicts.patterns import cause_of, picture, shortest_pair
from .._verdicts.report import Outcome, make_finding

PARTS = ("encoder", "decoder", "cross")


def three_masks(expect: Any) -> dict[str, Mask]:
    """Return the masks of all three parts: missing ones are the usual ones, and one mask alone is the decoder's."""
    usual = {"encoder": full(), "decoder": causal(), "cross": full()}
    if not isinstance(expect, Mapping):
        return usual if expect is None else {**usual, "decoder": expect}
    if unknown := [name for name in expect if name not in PARTS]:
        raise ArgumentError(f"the masks of an encoder-decoder model are {', '.join(PARTS)}, got {unknown[0]!r}")
    return {**usual, **expect}


# Inputs and outputs of the views; the other sequence is held still.
#
#   view          inputs             outputs
#   encoder_view  input_ids          encoder_last_hidden_state
#   decoder_view  decoder_input_ids  logits
#   check_cross   input_ids          logits


def encoder_view(subject: Subject) -> Subject:
    """Return the view of the encoder: its inputs, and its last hidden states as outputs."""
    return replace(
        subject,
        name="input_ids",
        fixed={"decoder_input_ids": _other_sequence(subject)},
        pick="encoder_last_hidden_state",
    )


def decoder_view(subject: Subject) -> Subject:
    """Return the view of the decoder: its inputs and its outputs; `attention_mask` is the encoder's and not used."""
    encoder_arguments = frozenset({"attention_mask", "position_ids"})
    return replace(
        subject, name="decoder_input_ids", fixed={"input_ids": _other_sequence(subject)}, refuses=encoder_arguments
    )


def check_cross(
    subject: Subject, masks: dict[str, Mask], encoder_reach: torch.Tensor, decoder_reach: torch.Tensor
) -> Outcome:
    """Judge which of the encoder's inputs influence which outputs, through the reach of either side."""
    decoder = _other_sequence(subject)
    view = replace(subject, name="input_ids", fixed={"decoder_input_ids": decoder}, out_length=decoder.shape[1])
    q_len, kv_len = decoder.shape[1], subject.length
    cross = torch.from_numpy(masks["cross"].bind(q_len, kv_len, q_start=0).dense()[0].any(0))
    reach = through(decoder_reach[:q_len, :q_len], through(cross, encoder_reach))
    black_box = BlackBox(view)
    sets = ForbiddenSets.from_allowed(reach)
    if len(sets.keys):
        effect = black_box.forbidden(sets).effect
        if (effect > 0).any():
            observed = black_box.pairs() > 0
            leaks = observed & ~reach
            if not leaks.any():
                raise CannotRun("inputs leak together but none alone: shorten the sequence and look at pairs")
            worst = int(effect.amax(1).argmax())
            site = locate(view, sets.keys[worst], sets.queries[worst])
            pair = shortest_pair(leaks)
            drawn = picture(reach, observed, *pair)
            cause, words = cause_of(leaks, observed, reach), "from the encoder's input to the decoder's output"
            leak = make_finding("mask", pair, float(effect.max()), int(leaks.sum()), cause, site, words, drawn)
            return Outcome([leak], "cross: leak")
    if not (black_box.pairs() > 0).any():
        return Outcome(warning="no token of the encoder reaches the decoder's output")
    return Outcome(evidence=f"cross: {int((~reach).sum())} forbidden pairs, no output changes by a bit")


def _other_sequence(subject: Subject) -> torch.Tensor:
    """Return `(1, L - 3)`: the other sequence, of another length, so that nothing confuses the two axes."""
    return subject.inputs.flip(0)[: max(2, subject.length - 3)][None]
