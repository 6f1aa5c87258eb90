"""The zoo of planted faults: whole models, each faulty in a known place, which the audit must catch and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ...masks import Mask, causal, prefix, sliding_window
from .._verdicts.report import Cause
from ._encoder_decoder import Translator
from ._routing import CapacityRouter, PerRowNorm, SequenceConvolution, SequenceNorm
from ._specimens import LAYERS, WIDTH, Functional, Output, Specimen, Told, beyond, of_head, seeded
from ._varlen import FlashArguments, Varlen

WINDOW, PREFIX = 6, 5
_WINDOW = sliding_window(WINDOW)


@dataclass(frozen=True)
class Mutant:
    """A model with one fault, and what the audit must say of it."""

    name: str
    cause: Cause
    #: Qualified name of the module that holds the fault.
    module: str
    make: Callable[[], nn.Module]
    check: str = "mask"
    #: What the model should honour.
    expect: Mask | Mapping[str, Mask] = causal()  # noqa: RUF009  (a mask is a value)

    def build(self, seed: int = 0) -> nn.Module:
        """The faulty model."""
        return seeded(self.make, seed)


def _shift(told: Told, by: int = 1) -> torch.Tensor:
    """What is allowed, and `by` later keys."""
    cells = told.allowed()
    wider = cells.clone()
    wider[..., by:] |= cells[..., :-by]
    return wider


def _window(told: Told, size: int) -> torch.Tensor:
    """A causal window of any size, in place of the one told."""
    q = torch.arange(told.rule.shape[-2])[:, None] + told.start
    k = torch.arange(told.rule.shape[-1])
    return ((k <= q) & (k > q - size))[None, None]


def _wider(told: Told) -> torch.Tensor:
    return _window(told, WINDOW + 1)


def _everything(told: Told) -> torch.Tensor:
    return torch.ones_like(told.rule)


def _added(value: float) -> Callable[[Told], torch.Tensor]:
    """A mask whose forbidden cells get a number that is too small."""
    return lambda told: torch.where(told.allowed(), 0.0, value)


def _deaf_to_padding(told: Told) -> torch.Tensor:
    return Told(told.rule, None, told.same, told.start).allowed()


def _deaf_to_documents(told: Told) -> torch.Tensor:
    return Told(told.rule, told.real, None, told.start).allowed()


def _head_deaf_to_padding(told: Told) -> torch.Tensor:
    return of_head(1, _deaf_to_padding(told), told.allowed())


def _head_deaf_to_documents(told: Told) -> torch.Tensor:
    return of_head(1, _deaf_to_documents(told), told.allowed())


def _one_late(ends: torch.Tensor, length: int) -> torch.Tensor:
    """Takes each document's end for its last token."""
    return torch.bucketize(torch.arange(length), ends[1:].contiguous())


def _counting_on() -> nn.Module:
    """Positions count from the row's start, whatever position_ids say."""
    return Specimen(places=lambda given, default: default)


def _top_left(told: Told) -> torch.Tensor:
    """`is_causal` of some kernels: the triangle begins at the top left corner, whatever the cache holds."""
    return torch.ones(told.rule.shape[-2:], dtype=torch.bool).tril()[None, None]


def _top_left_in_chunks(told: Told) -> torch.Tensor:
    """The same, where single steps are given no mask and so come out right."""
    return told.allowed() if told.rule.shape[-2] == 1 else _top_left(told)


def _chunk_unmasked(told: Told) -> torch.Tensor:
    """Attends to the whole chunk once there is a cache."""
    return torch.ones_like(told.rule) if told.start else told.allowed()


def _window_forgotten(told: Told) -> torch.Tensor:
    return _window(told, 1 << 20) if told.start else told.allowed()


class _Shifted(Specimen):
    """Returns at each position what belongs to the next: the classic slip in shifting targets."""

    def forward(self, *args: object, **named: object) -> Output:  # type: ignore[override]
        out = super().forward(*args, **named)  # type: ignore[arg-type]
        return Output(torch.cat([out.logits[:, 1:], out.logits[:, -1:]], 1), out.past_key_values)


class _Centred(Specimen):
    """Takes the mean of all positions from its outputs."""

    def forward(self, *args: object, **named: object) -> Output:  # type: ignore[override]
        out = super().forward(*args, **named)  # type: ignore[arg-type]
        return Output(out.logits - out.logits.mean(1, keepdim=True), out.past_key_values)


def _attention(layer: int) -> str:
    return f"blocks.{layer}.attention"


def _twisted(
    name: str,
    cause: Cause,
    layer: int,
    twist: Callable[[Told], torch.Tensor],
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
    """Every planted fault.

    >>> from maskwork.proof.zoo import mutants
    >>> len(mutants()) >= 30 and len({mutant.name for mutant in mutants()}) == len(mutants())
    True
    """
    last = LAYERS - 1
    none, off, window = Cause.NO_MASK, Cause.OFF_BY_ONE, Cause.WINDOW_OFF_BY_ONE
    value, polarity, pads = Cause.MASK_VALUE_TOO_SMALL, Cause.POLARITY, Cause.PADDING_VISIBLE
    joined, places, cache = Cause.DOCUMENTS_JOINED, Cause.POSITIONS_NOT_RESTARTED, Cause.CACHE_MASK
    outside = Cause.MIXES_OUTSIDE_ATTENTION
    prefixed = causal() | prefix(PREFIX)
    wider = causal() | prefix(PREFIX + 1)
    found = [_twisted(f"no mask in layer {i}", none, i, _everything) for i in range(LAYERS)]
    found += [
        _twisted("no mask in one head", none, 1, lambda t: of_head(2, _everything(t), t.allowed())),
        _twisted("no mask beyond position 32", none, 1, lambda t: beyond(32, t, _everything(t))),
        _twisted("window forgotten", none, 1, lambda t: _window(t, 1 << 20), _WINDOW),
        _twisted("next token in layer 0", off, 0, _shift),
        _twisted("next token in the last layer", off, last, _shift),
        _twisted("next token in one head", off, 1, lambda t: of_head(0, _shift(t), t.allowed())),
        _twisted("next token beyond position 32", off, last, lambda t: beyond(32, t, _shift(t))),
        Mutant("outputs shifted by one", off, "", _Shifted),
        Mutant("prefix one too long", off, _attention(0), lambda: Specimen(wider), expect=prefixed),
        _twisted("window one too wide in layer 0", window, 0, _wider, _WINDOW),
        _twisted("window one too wide in layer 2", window, 2, _wider, _WINDOW),
        _twisted("window one too wide in one head", window, 1, lambda t: of_head(3, _wider(t), t.allowed()), _WINDOW),
        _twisted("window one too wide beyond position 32", window, 1, lambda t: beyond(32, t, _wider(t)), _WINDOW),
        _twisted("mask of -1", value, 0, _added(-1.0)),
        _twisted("mask of -10", value, 1, _added(-10.0)),
        _twisted("mask of -100", value, last, _added(-100.0)),
        _twisted("bool mask added", value, 1, lambda t: t.allowed().float()),
        _twisted("polarity inverted in layer 0", polarity, 0, lambda t: ~t.allowed()),
        _twisted("polarity inverted in the last layer", polarity, last, lambda t: ~t.allowed()),
        _twisted("padding seen in layer 0", pads, 0, _deaf_to_padding, check="padding"),
        _twisted("padding seen in the last layer", pads, last, _deaf_to_padding, check="padding"),
        _twisted("padding seen by one head", pads, 1, _head_deaf_to_padding, check="padding"),
        _twisted("documents joined in layer 0", joined, 0, _deaf_to_documents, check="packing"),
        _twisted("documents joined in the last layer", joined, last, _deaf_to_documents, check="packing"),
        _twisted("documents joined in one head", joined, 1, _head_deaf_to_documents, check="packing"),
        Mutant(
            "cu_seqlens forgotten in layer 1",
            joined,
            _attention(1),
            lambda: Varlen(twists={1: _deaf_to_documents}),
            "packing",
        ),
        Mutant("cu_seqlens one too late", joined, _attention(0), lambda: Varlen(split=_one_late), "packing"),
        Mutant("positions count on over cu_seqlens", places, "positions", lambda: Varlen(restart=False), "packing"),
        Mutant(
            "cu_seq_lens_q forgotten in one head",
            joined,
            _attention(last),
            lambda: FlashArguments(twists={last: _head_deaf_to_documents}),
            "packing",
        ),
        Mutant("positions count on", places, "positions", _counting_on, "packing"),
        Mutant("positions count on from the left padding", places, "positions", _counting_on, "padding"),
        _twisted("chunk unmasked with a cache, layer 0", cache, 0, _chunk_unmasked, check="cache"),
        _twisted("chunk unmasked with a cache, layer 1", cache, 1, _chunk_unmasked, check="cache"),
        _twisted("window forgotten with a cache", cache, 0, _window_forgotten, _WINDOW, "cache"),
        Mutant(
            "positions from 0 with a cache",
            cache,
            "positions",
            lambda: Specimen(places=lambda given, default: default - default[:, :1]),
            "cache",
        ),
        _twisted("triangle from the top left in layer 0", Cause.ALIGNMENT, 0, _top_left, check="cache"),
        _twisted("triangle from the top left in the last layer", Cause.ALIGNMENT, last, _top_left, check="cache"),
        _twisted("triangle from the top left in chunks", Cause.ALIGNMENT, 1, _top_left_in_chunks, check="cache"),
        Mutant(
            "cross-attention from the bottom right",
            Cause.ALIGNMENT,
            "cross",
            lambda: Translator(bottom_right=True),
            expect={"encoder": causal(), "cross": causal()},
        ),
        _extra("normalised over the sequence", 1, SequenceNorm),
        _extra("convolution padded on both sides", 0, lambda: SequenceConvolution(1.0)),
        _extra("convolution that leaks a millionth", last, lambda: SequenceConvolution(1e-6)),
        _extra("experts of limited capacity", 1, CapacityRouter),
        _extra("sum from the end", 0, lambda: Functional(lambda x: x.flip(1).cumsum(1).flip(1) * 0.1)),
        _extra("mean over the sequence", last, lambda: Functional(lambda x: x.mean(1, keepdim=True).expand_as(x))),
        Mutant("recurrent both ways", outside, "blocks.1.extra.parts.0", lambda: Specimen(extras={1: _gru()})),
        Mutant("mean taken from the outputs", outside, "", _Centred),
        _extra("normalised over the batch", 1, PerRowNorm, "batch"),
        Mutant(
            "batch normalisation in training",
            outside,
            "blocks.1.extra.parts.0",
            lambda: Specimen(extras={1: _batch_norm()}),
            "determinism",
        ),
    ]
    return found


def _batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(WIDTH)
    return Functional(lambda x: norm(x.transpose(1, 2)).transpose(1, 2), [norm])
