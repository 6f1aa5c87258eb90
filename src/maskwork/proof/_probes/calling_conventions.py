"""Calling conventions: how a model takes padding, packed documents and a cache, in the names of several libraries.

| | padding | packed documents | cache |
| --- | --- | --- | --- |
| maskwork | `mask`, `position_ids` | `mask`, `position_ids` | `cache`, made by `model.new_cache()` |
| transformers | `attention_mask`, `position_ids` | `position_ids`, or `cu_seq_lens_q` and `_k` | `past_key_values` |
| varlen kernels | | `cu_seqlens`, `max_seqlen`: one flat row | |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..._shared.numbers import is_integer
from ...masks import Mask, padding, per_row, within
from .subject import CannotRun, Subject, main_output


@dataclass(frozen=True)
class CallingConvention:
    """The arguments of one way of calling a model.

    Attributes:
        name: the name in a report.
        flat: whether the arguments describe one flat row, so that a batch is run row by row.
    """

    name: str
    options: dict[str, Any]
    flat: bool = False


def restarted(starts: Sequence[int], total: int, device: torch.device) -> torch.Tensor:
    """Return int64 `(B, total)`: positions counted from each row's start; padding before the start has position 0."""
    return (torch.arange(total)[None] - torch.tensor(starts)[:, None]).clamp(min=0).to(device)


def padded(subject: Subject, expect: Mask, starts: Sequence[int], ends: Sequence[int], total: int) -> CallingConvention:
    """Return the arguments for a batch whose row b is real from `starts[b]` to `ends[b]`, of `total` positions each.

    Raises:
        CannotRun: the model has no argument for padding, or its mask changes with the sequence's place in the row.
    """
    positions = restarted(starts, total, subject.inputs.device)
    if subject.accepts("mask", "position_ids"):
        rows = [
            expect.shift(q=start, k=start) & padding(starts=[start]) & padding([end])
            for start, end in zip(starts, ends, strict=True)
        ]
        # Equal rows need no mask for each row.
        mask = rows[0] if len(set(zip(starts, ends, strict=True))) == 1 else per_row(rows)
        return CallingConvention("mask and position_ids", {"mask": mask, "position_ids": positions})
    if not subject.accepts("attention_mask"):
        raise CannotRun("the model takes no attention_mask, so it cannot be called with padding")
    if any(starts) and not _moves(expect, max(starts), total):
        raise CannotRun("the mask is counted from the row's start, and attention_mask cannot tell where that moved")
    columns = torch.arange(total)[None]
    # 1 = real, 0 = padding, as transformers reads an attention_mask.
    real = (columns >= torch.tensor(starts)[:, None]) & (columns < torch.tensor(ends)[:, None])
    options: dict[str, Any] = {"attention_mask": real.long().to(subject.inputs.device), **subject.without_cache()}
    if subject.accepts("position_ids"):
        return CallingConvention("attention_mask and position_ids", {**options, "position_ids": positions})
    return CallingConvention("attention_mask", options)


def alone(subject: Subject, expect: Mask, length: int, rows: int = 1) -> dict[str, Any]:
    """Return the options of a call with one sequence alone in its row, with positions as in `padded` and `packed`.

    Some models begin to count elsewhere by default (RoBERTa after its padding's number), which is no fault.
    """
    if subject.accepts("mask", "position_ids"):
        return {"mask": expect}
    options: dict[str, Any] = dict(subject.without_cache())
    if subject.accepts("position_ids"):
        options["position_ids"] = restarted([0] * rows, length, subject.inputs.device)
    if rows == 1 and subject.accepts("cu_seqlens"):  # some models take documents by their ends only
        options |= _document_ends(subject, [length])[0].options
    return options


def _document_ends(subject: Subject, lengths: Sequence[int]) -> list[CallingConvention]:
    """Return the conventions that give documents by their ends: flash-attention's names and those of transformers."""
    ends = torch.tensor([0, *lengths]).cumsum(0).int().to(subject.inputs.device)
    longest = max(lengths)
    conventions: list[CallingConvention] = []
    if subject.accepts("cu_seqlens"):
        size = {"max_seqlen": longest} if subject.accepts("max_seqlen") else {}
        conventions.append(CallingConvention("cu_seqlens", {"cu_seqlens": ends, **size}, flat=True))
    if subject.accepts("cu_seq_lens_q", "cu_seq_lens_k"):
        sizes = [name for name in ("max_length_q", "max_length_k") if subject.accepts(name)]
        names = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, **dict.fromkeys(sizes, longest)}
        conventions.append(CallingConvention("cu_seq_lens_q and cu_seq_lens_k", names, flat=True))
    return conventions


def _moves(expect: Mask, start: int, total: int) -> bool:
    """Return whether the mask moves with a sequence that begins later in its row, as windows do and sinks do not."""
    real = padding(starts=[start])
    moved = (expect.shift(q=start, k=start) & real).bind(total).dense()[..., start:, :]
    return bool((moved == (expect & real).bind(total).dense()[..., start:, :]).all())


def packed(subject: Subject, expect: Mask, lengths: Sequence[int], rows: int, causal: bool) -> list[CallingConvention]:
    """Return the ways in which `subject` takes documents of these lengths, in every row: at least one.

    Raises:
        CannotRun: the model has no argument for documents, or positions alone do not separate them.
    """
    device = subject.inputs.device
    # Of documents of 2, 3 and 1 tokens:  positions 0 1 0 1 2 0,  ids 0 0 1 1 1 2
    positions = torch.cat([torch.arange(n) for n in lengths]).expand(rows, -1).clone().to(device)
    ids = torch.cat([torch.full((n,), d) for d, n in enumerate(lengths)]).expand(rows, -1).clone().to(device)
    position_ids = {"position_ids": positions} if subject.accepts("position_ids") else {}
    if subject.accepts("mask", "position_ids"):
        return [CallingConvention("mask and position_ids", {"mask": within(expect, list(lengths)), **position_ids})]
    conventions = [
        CallingConvention(by_ends.name, {**by_ends.options, **position_ids}, flat=True)
        for by_ends in _document_ends(subject, lengths)
    ]
    if subject.accepts("document_ids"):
        conventions.insert(0, CallingConvention("document_ids", {"document_ids": ids, **position_ids}))
    if conventions:
        return conventions
    if not position_ids:
        raise CannotRun(
            "the model takes no position_ids, document_ids or cu_seqlens, so it cannot be called with packed rows"
        )
    if not causal:
        raise CannotRun("position_ids alone do not tell a model that sees both ways where its documents end")
    conventions = [CallingConvention("the default call, position_ids alone", position_ids)]
    # With a cache in use, transformers does not look for documents in position_ids.
    if subject.accepts("use_cache"):
        conventions.insert(0, CallingConvention("position_ids, use_cache=False", {**position_ids, "use_cache": False}))
    return conventions


class CachedDecoding:
    """A model that decodes with its cache, piece by piece."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        #: Whether the cache is made by `model.new_cache()`, as this package's models do.
        self.has_new_cache = hasattr(subject.model, "new_cache") and subject.accepts("cache")
        if not self.has_new_cache and not subject.accepts("use_cache", "past_key_values"):
            raise CannotRun("the model takes no cache (past_key_values, or cache with new_cache())")

    def run(
        self, inputs: torch.Tensor, sizes: Sequence[int], steps: Sequence[dict[str, Any]] | None = None
    ) -> torch.Tensor:
        """Return the outputs `(B, L, …)` for `inputs (B, L)` in pieces; `steps` are more options of each piece."""
        pieces = inputs.split(list(sizes), dim=1)
        steps = [{}] * len(pieces) if steps is None else steps
        if self.has_new_cache:
            cache = self.subject.model.new_cache(len(inputs)) if len(inputs) > 1 else self.subject.model.new_cache()
            out = [self.subject.run(p, cache=cache, **s) for p, s in zip(pieces, steps, strict=True)]
            return torch.cat(out, dim=1)
        out, past = [], None
        for piece, step in zip(pieces, steps, strict=True):
            answer = self.subject.answer(piece, past_key_values=past, use_cache=True, **step)
            past = getattr(answer, "past_key_values", None)
            if past is None:
                raise CannotRun("the model returns no past_key_values when it is called with use_cache=True")
            out.append(main_output(answer))
        return torch.cat(out, dim=1)

    def unequal(self, expect: Mask, starts: Sequence[int], sizes: Sequence[int]) -> list[dict[str, Any]]:
        """Return the options of each piece for a batch whose row b begins at `starts[b]`, after padding."""
        total, done, steps = sum(sizes), 0, []
        # Each piece needs its queries' part of what the batch as one piece would need.
        for size in sizes:
            end = done + size
            full = padded(self.subject, expect, starts, [total] * len(starts), total).options
            step = {}
            if "mask" in full:
                bound = full["mask"].bind(size, end, q_start=done, batch=len(starts), heads=self.subject.config.heads)
                step["mask"] = bound
            if "attention_mask" in full:  # of all keys up to the piece's end
                step["attention_mask"] = full["attention_mask"][:, :end]
            if "position_ids" in full:
                step["position_ids"] = full["position_ids"][:, done:end]
            steps.append(step)
            done = end
        return steps


def pad_token(subject: Subject) -> int:
    """Return the padding token of the model's configuration, or the sequence's first token."""
    if subject.inputs.is_floating_point():
        raise CannotRun("this check needs token ids")
    for config in (subject.config, getattr(subject.config, "text_config", None)):
        token = getattr(config, "pad_token_id", None)
        if is_integer(token) and 0 <= int(token) < (subject.vocab_size or int(token) + 1):
            return int(token)
    return int(subject.inputs[0])
