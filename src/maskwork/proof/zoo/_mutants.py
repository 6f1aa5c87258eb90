"""The zoo of planted faults: whole models, each faulty in a known place, which the audit must catch and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from ...masks import Mask, causal, prefix, sliding_window
from .._verdicts.report import Cause
from ._encoder_decoder import Translator
from ._routing import CapacityRouter, PerRowNorm, SequenceConvolution, SequenceNorm
from ._specimens import (
    LAYERS,
    WIDTH,
    AttentionInputs,
    Functional,
    Output,
    Specimen,
    Twist,
    from_position,
    in_head,
    seeded,
)
from ._varlen import FlashArguments, Varlen

# Sizes of the masks with a window or a prefix; faults are one off these.
WINDOW, PREFIX = 6, 5
_WINDOW = sliding_window(WINDOW)
_LAST = LAYERS - 1


@dataclass(frozen=True)
class Mutant:
    """A model with one fault, and what the audit must say of it.

    Attributes:
        module: qualified name of the module that holds the fault.
        make: builds the model.
        expect: the mask that the model should honour.
    """

    name: str
    cause: Cause
    module: str
    make: Callable[[], nn.Module]
    check: str = "mask"
    expect: Mask | Mapping[str, Mask] = causal()  # noqa: RUF009  (a mask is a value)

    def build(self, seed: int = 0) -> nn.Module:
        """Build the faulty model."""
        return seeded(self.make, seed)


# Twists: each returns a layer's mask from the parts that it should be made of, with a fault.


def _next_token(inputs: AttentionInputs) -> torch.Tensor:
    """Allow one later key than the mask does."""
    cells = inputs.allowed()
    wider = cells.clone()
    wider[..., 1:] |= cells[..., :-1]
    return wider


def _window(inputs: AttentionInputs, size: int) -> torch.Tensor:
    """Allow a causal window of any size, whatever the mask's own is."""
    q = torch.arange(inputs.rule.shape[-2])[:, None] + inputs.start
    k = torch.arange(inputs.rule.shape[-1])
    return ((k <= q) & (k > q - size))[None, None]


def _wider(inputs: AttentionInputs) -> torch.Tensor:
    return _window(inputs, WINDOW + 1)


def _everything(inputs: AttentionInputs) -> torch.Tensor:
    return torch.ones_like(inputs.rule)


def _added(value: float) -> Twist:
    """Build a mask whose forbidden cells hold a number that is too small."""
    return lambda inputs: torch.where(inputs.allowed(), 0.0, value)


def _ignores_padding_mask(inputs: AttentionInputs) -> torch.Tensor:
    return replace(inputs, real=None).allowed()


def _ignores_documents(inputs: AttentionInputs) -> torch.Tensor:
    return replace(inputs, same_document=None).allowed()


def _head_ignores_padding_mask(inputs: AttentionInputs) -> torch.Tensor:
    return in_head(1, _ignores_padding_mask(inputs), inputs.allowed())


def _head_ignores_documents(inputs: AttentionInputs) -> torch.Tensor:
    return in_head(1, _ignores_documents(inputs), inputs.allowed())


def _ends_one_late(ends: torch.Tensor, length: int) -> torch.Tensor:
    """Take each document's end for its last token."""
    return torch.bucketize(torch.arange(length), ends[1:].contiguous())


def _ignores_position_ids() -> nn.Module:
    """Build a decoder that counts positions from the row's start, whatever `position_ids` say."""
    return Specimen(places=lambda position_ids, default: default)


def _top_left(inputs: AttentionInputs) -> torch.Tensor:
    """Put the triangle in the top left corner, as `is_causal` of some kernels does, whatever the cache holds."""
    return torch.ones(inputs.rule.shape[-2:], dtype=torch.bool).tril()[None, None]


def _top_left_in_chunks(inputs: AttentionInputs) -> torch.Tensor:
    """Put the triangle in the top left corner of chunks alone: single steps take no mask and so come out right."""
    return inputs.allowed() if inputs.rule.shape[-2] == 1 else _top_left(inputs)


def _chunk_unmasked(inputs: AttentionInputs) -> torch.Tensor:
    """Attend to the whole chunk once there is a cache."""
    return torch.ones_like(inputs.rule) if inputs.start else inputs.allowed()


def _window_forgotten(inputs: AttentionInputs) -> torch.Tensor:
    return _window(inputs, 1 << 20) if inputs.start else inputs.allowed()


# Faults outside attention, in the model's own code.


class _ShiftedOutputs(Specimen):
    """A decoder that returns at each position the output of the next: the classic slip in shifting targets."""

    def forward(self, *args: object, **kwargs: object) -> Output:  # type: ignore[override]
        out = super().forward(*args, **kwargs)  # type: ignore[arg-type]
        return Output(torch.cat([out.logits[:, 1:], out.logits[:, -1:]], 1), out.past_key_values)


class _CentredOutputs(Specimen):
    """A decoder that takes the mean of all positions from its outputs."""

    def forward(self, *args: object, **kwargs: object) -> Output:  # type: ignore[override]
        out = super().forward(*args, **kwargs)  # type: ignore[arg-type]
        return Output(out.logits - out.logits.mean(1, keepdim=True), out.past_key_values)


def _attention(layer: int) -> str:
    return f"blocks.{layer}.attention"


def _twisted(
    name: str,
    cause: Cause,
    layer: int,
    twist: Twist,
    mask: Mask | None = None,
    check: str = "mask",
) -> Mutant:
    expect = causal() if mask is None else mask
    return Mutant(name, cause, _attention(layer), lambda: Specimen(expect, twists={layer: twist}), check, expect)


def _extra(name: str, layer: int, make: Callable[[], nn.Module], check: str = "mask") -> Mutant:
    module = f"blocks.{layer}.extra"
    return Mutant(name, Cause.MIXES_OUTSIDE_ATTENTION, module, lambda: Specimen(extras={layer: make()}), check)


def _gru() -> nn.Module:
    gru = nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
    return Functional(lambda x: gru(x)[0], [gru])


def mutants() -> list[Mutant]:
    """Return every planted fault.

    >>> from maskwork.proof.zoo import mutants
    >>> len(mutants()) >= 30 and len({mutant.name for mutant in mutants()}) == len(mutants())
    True
    """
    return [*_faulty_masks(), *_faulty_rows(), *_faulty_caches(), _faulty_cross(), *_mixed_outside_attention()]


def _faulty_masks() -> list[Mutant]:
    """Return faults of one layer's mask, which the check `mask` shows."""
    no_mask, shifted, window = Cause.NO_MASK, Cause.OFF_BY_ONE, Cause.WINDOW_OFF_BY_ONE
    value, polarity = Cause.MASK_VALUE_TOO_SMALL, Cause.POLARITY
    prefixed = causal() | prefix(PREFIX)
    wider = causal() | prefix(PREFIX + 1)
    return [
        # No mask: everywhere, in one head, beyond a position, or the window alone.
        *(_twisted(f"no mask in layer {i}", no_mask, i, _everything) for i in range(LAYERS)),
        _twisted("no mask in one head", no_mask, 1, lambda t: in_head(2, _everything(t), t.allowed())),
        _twisted("no mask beyond position 32", no_mask, 1, lambda t: from_position(32, t, _everything(t))),
        _twisted("window forgotten", no_mask, 1, lambda t: _window(t, 1 << 20), _WINDOW),
        # One token too far ahead.
        _twisted("next token in layer 0", shifted, 0, _next_token),
        _twisted("next token in the last layer", shifted, _LAST, _next_token),
        _twisted("next token in one head", shifted, 1, lambda t: in_head(0, _next_token(t), t.allowed())),
        _twisted("next token beyond position 32", shifted, _LAST, lambda t: from_position(32, t, _next_token(t))),
        Mutant("outputs shifted by one", shifted, "", _ShiftedOutputs),
        Mutant("prefix one too long", shifted, _attention(0), lambda: Specimen(wider), expect=prefixed),
        # One key too many behind.
        _twisted("window one too wide in layer 0", window, 0, _wider, _WINDOW),
        _twisted("window one too wide in layer 2", window, 2, _wider, _WINDOW),
        _twisted("window one too wide in one head", window, 1, lambda t: in_head(3, _wider(t), t.allowed()), _WINDOW),
        _twisted(
            "window one too wide beyond position 32", window, 1, lambda t: from_position(32, t, _wider(t)), _WINDOW
        ),
        # A number is added to the scores of forbidden keys that leaves them a weight.
        _twisted("mask of -1", value, 0, _added(-1.0)),
        _twisted("mask of -10", value, 1, _added(-10.0)),
        _twisted("mask of -100", value, _LAST, _added(-100.0)),
        _twisted("bool mask added", value, 1, lambda t: t.allowed().float()),
        # True and False exchanged.
        _twisted("polarity inverted in layer 0", polarity, 0, lambda t: ~t.allowed()),
        _twisted("polarity inverted in the last layer", polarity, _LAST, lambda t: ~t.allowed()),
    ]


def _faulty_rows() -> list[Mutant]:
    """Return faults that show only in rows with padding or with several documents."""
    pads, joined, places = Cause.PADDING_VISIBLE, Cause.DOCUMENTS_JOINED, Cause.POSITIONS_NOT_RESTARTED
    return [
        # Padding that attention sees.
        _twisted("padding seen in layer 0", pads, 0, _ignores_padding_mask, check="padding"),
        _twisted("padding seen in the last layer", pads, _LAST, _ignores_padding_mask, check="padding"),
        _twisted("padding seen by one head", pads, 1, _head_ignores_padding_mask, check="padding"),
        # Documents of one row that see each other, in each calling convention.
        _twisted("documents joined in layer 0", joined, 0, _ignores_documents, check="packing"),
        _twisted("documents joined in the last layer", joined, _LAST, _ignores_documents, check="packing"),
        _twisted("documents joined in one head", joined, 1, _head_ignores_documents, check="packing"),
        Mutant(
            "cu_seqlens forgotten in layer 1",
            joined,
            _attention(1),
            lambda: Varlen(twists={1: _ignores_documents}),
            "packing",
        ),
        Mutant("cu_seqlens one too late", joined, _attention(0), lambda: Varlen(split=_ends_one_late), "packing"),
        Mutant("positions count on over cu_seqlens", places, "positions", lambda: Varlen(restart=False), "packing"),
        Mutant(
            "cu_seq_lens_q forgotten in one head",
            joined,
            _attention(_LAST),
            lambda: FlashArguments(twists={_LAST: _head_ignores_documents}),
            "packing",
        ),
        # Positions that do not restart.
        Mutant("positions count on", places, "positions", _ignores_position_ids, "packing"),
        Mutant("positions count on from the left padding", places, "positions", _ignores_position_ids, "padding"),
    ]


def _faulty_caches() -> list[Mutant]:
    """Return faults that show only while decoding with a cache."""
    cache = Cause.CACHE_MASK
    return [
        _twisted("chunk unmasked with a cache, layer 0", cache, 0, _chunk_unmasked, check="cache"),
        _twisted("chunk unmasked with a cache, layer 1", cache, 1, _chunk_unmasked, check="cache"),
        _twisted("window forgotten with a cache", cache, 0, _window_forgotten, _WINDOW, "cache"),
        Mutant(
            "positions from 0 with a cache",
            cache,
            "positions",
            lambda: Specimen(places=lambda position_ids, default: default - default[:, :1]),
            "cache",
        ),
        _twisted("triangle from the top left in layer 0", Cause.ALIGNMENT, 0, _top_left, check="cache"),
        _twisted("triangle from the top left in the last layer", Cause.ALIGNMENT, _LAST, _top_left, check="cache"),
        _twisted("triangle from the top left in chunks", Cause.ALIGNMENT, 1, _top_left_in_chunks, check="cache"),
    ]


def _faulty_cross() -> Mutant:
    return Mutant(
        "cross-attention from the bottom right",
        Cause.ALIGNMENT,
        "cross",
        lambda: Translator(bottom_right=True),
        expect={"encoder": causal(), "cross": causal()},
    )


def _mixed_outside_attention() -> list[Mutant]:
    """Return models that mix positions, or rows, outside attention."""
    outside = Cause.MIXES_OUTSIDE_ATTENTION
    return [
        _extra("normalised over the sequence", 1, SequenceNorm),
        _extra("convolution padded on both sides", 0, lambda: SequenceConvolution(1.0)),
        _extra("convolution that leaks a millionth", _LAST, lambda: SequenceConvolution(1e-6)),
        _extra("experts of limited capacity", 1, CapacityRouter),
        _extra("sum from the end", 0, lambda: Functional(lambda x: x.flip(1).cumsum(1).flip(1) * 0.1)),
        _extra("mean over the sequence", _LAST, lambda: Functional(lambda x: x.mean(1, keepdim=True).expand_as(x))),
        Mutant("recurrent both ways", outside, "blocks.1.extra.parts.0", lambda: Specimen(extras={1: _gru()})),
        Mutant("mean taken from the outputs", outside, "", _CentredOutputs),
        _extra("normalised over the batch", 1, PerRowNorm, "batch"),
        Mutant(
            "batch normalisation in training",
            outside,
            "blocks.1.extra.parts.0",
            lambda: Specimen(extras={1: _batch_norm()}),
            "determinism",
        ),
    ]


def _batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(WIDTH)
    return Functional(lambda x: norm(x.transpose(1, 2)).transpose(1, 2), [norm])
