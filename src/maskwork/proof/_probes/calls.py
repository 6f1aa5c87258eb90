"""How a model is told of padding, of packed documents and of a cache: maskwork's way, Hugging Face's, and varlen's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...masks import Mask, padding, per_row, within
from .subject import CannotRun, Subject, main_output


@dataclass(frozen=True)
class Call:
    """Arguments of one way of calling a model, and what to call that way in a report."""

    name: str
    options: dict[str, Any]
    #: Whether it speaks of one flat row, so that a batch is run row by row.
    flat: bool = False


def restarted(starts: Sequence[int], total: int, device: torch.device) -> torch.Tensor:
    """int64 `(B, total)`: positions counted from each row's start; padding before it has position 0."""
    return (torch.arange(total)[None] - torch.tensor(starts)[:, None]).clamp(min=0).to(device)


def padded(subject: Subject, expect: Mask, starts: Sequence[int], ends: Sequence[int], total: int) -> Call:
    """For a batch whose row b is real from `starts[b]` to `ends[b]`, of `total` positions each."""
    positions = restarted(starts, total, subject.inputs.device)
    if subject.accepts("mask", "position_ids"):
        rows = [
            expect.shift(q=start, k=start) & padding(starts=[start]) & padding([end])
            for start, end in zip(starts, ends, strict=True)
        ]
        mask = rows[0] if len(set(zip(starts, ends, strict=True))) == 1 else per_row(rows)
        return Call("mask and position_ids", {"mask": mask, "position_ids": positions})
    if not subject.accepts("attention_mask"):
        raise CannotRun("the model takes no attention_mask, so padding cannot be told to it")
    if any(starts) and not _moves(expect, max(starts), total):
        raise CannotRun("the mask is counted from the row's start, and attention_mask cannot tell where that moved")
    place = torch.arange(total)[None]
    real = (place >= torch.tensor(starts)[:, None]) & (place < torch.tensor(ends)[:, None])
    options: dict[str, Any] = {"attention_mask": real.long().to(subject.inputs.device), **subject.without_cache()}
    if subject.accepts("position_ids"):
        return Call("attention_mask and position_ids", {**options, "position_ids": positions})
    return Call("attention_mask", options)


def alone(subject: Subject, expect: Mask, length: int, rows: int = 1) -> dict[str, Any]:
    """Options of a call with one sequence and nothing beside it, its positions told as `padded` and `packed` tell them.

    Some models begin to count elsewhere by default (RoBERTa after its padding's number), which is no fault.
    """
    if subject.accepts("mask", "position_ids"):
        return {"mask": expect}
    options: dict[str, Any] = dict(subject.without_cache())
    if subject.accepts("position_ids"):
        options["position_ids"] = restarted([0] * rows, length, subject.inputs.device)
    if rows == 1 and subject.accepts("cu_seqlens"):  # some take nothing else
        options |= _ends(subject, [length])[0].options
    return options


def _ends(subject: Subject, lengths: Sequence[int]) -> list[Call]:
    """Documents told by their ends, in the names of flash-attention and in those of transformers."""
    ends = torch.tensor([0, *lengths]).cumsum(0).int().to(subject.inputs.device)
    longest = max(lengths)
    calls: list[Call] = []
    if subject.accepts("cu_seqlens"):
        known = {"max_seqlen": longest} if subject.accepts("max_seqlen") else {}
        calls.append(Call("cu_seqlens", {"cu_seqlens": ends, **known}, flat=True))
    if subject.accepts("cu_seq_lens_q", "cu_seq_lens_k"):
        sizes = [name for name in ("max_length_q", "max_length_k") if subject.accepts(name)]
        names = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, **dict.fromkeys(sizes, longest)}
        calls.append(Call("cu_seq_lens_q and cu_seq_lens_k", names, flat=True))
    return calls


def _moves(expect: Mask, start: int, total: int) -> bool:
    """Whether the mask is the same for a sequence that begins later in its row, as windows are and sinks are not."""
    there = padding(starts=[start])
    moved = (expect.shift(q=start, k=start) & there).bind(total).dense()[..., start:, :]
    return bool((moved == (expect & there).bind(total).dense()[..., start:, :]).all())


def packed(subject: Subject, expect: Mask, lengths: Sequence[int], rows: int, causal: bool) -> list[Call]:
    """The ways of telling `subject` of documents of these lengths, in every row: at least one, or it raises."""
    device = subject.inputs.device
    positions = torch.cat([torch.arange(n) for n in lengths]).expand(rows, -1).clone().to(device)
    ids = torch.cat([torch.full((n,), d) for d, n in enumerate(lengths)]).expand(rows, -1).clone().to(device)
    where = {"position_ids": positions} if subject.accepts("position_ids") else {}
    if subject.accepts("mask", "position_ids"):
        return [Call("mask and position_ids", {"mask": within(expect, list(lengths)), **where})]
    told = [Call(call.name, {**call.options, **where}, flat=True) for call in _ends(subject, lengths)]
    if subject.accepts("document_ids"):
        told.insert(0, Call("document_ids", {"document_ids": ids, **where}))
    if told:
        return told
    if not where:
        raise CannotRun(
            "the model takes no position_ids, document_ids or cu_seqlens, so packed rows cannot be told to it"
        )
    if not causal:
        raise CannotRun("position_ids alone do not tell a model that sees both ways where its documents end")
    calls = [Call("the default call, position_ids alone", where)]
    if subject.accepts("use_cache"):
        calls.insert(0, Call("position_ids, use_cache=False", {**where, "use_cache": False}))
    return calls


class Cached:
    """A model decoding with its cache, piece by piece."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.ours = hasattr(subject.model, "new_cache") and subject.accepts("cache")
        if not self.ours and not subject.accepts("use_cache", "past_key_values"):
            raise CannotRun("the model takes no cache (past_key_values, or cache with new_cache())")

    def run(
        self, inputs: torch.Tensor, sizes: Sequence[int], steps: Sequence[dict[str, Any]] | None = None
    ) -> torch.Tensor:
        """Outputs `(B, L, …)` of `inputs (B, L)` given in pieces; `steps` are more options of each piece."""
        pieces = inputs.split(list(sizes), dim=1)
        steps = [{}] * len(pieces) if steps is None else steps
        if self.ours:
            cache = self.subject.model.new_cache(len(inputs)) if len(inputs) > 1 else self.subject.model.new_cache()
            out = [self.subject.run(p, cache=cache, **s) for p, s in zip(pieces, steps, strict=True)]
            return torch.cat(out, dim=1)
        out, past = [], None
        for piece, step in zip(pieces, steps, strict=True):
            answer = self.subject.answer(piece, past_key_values=past, use_cache=True, **step)
            past = getattr(answer, "past_key_values", None)
            if past is None:
                raise CannotRun("the model returns no past_key_values when it is asked for a cache")
            out.append(main_output(answer))
        return torch.cat(out, dim=1)

    def unequal(self, expect: Mask, starts: Sequence[int], sizes: Sequence[int]) -> list[dict[str, Any]]:
        """Options of each piece for a batch whose row b begins at `starts[b]`, after padding."""
        total, done, steps = sum(sizes), 0, []
        for size in sizes:
            end = done + size
            whole = padded(self.subject, expect, starts, [total] * len(starts), total).options
            step = {}
            if "mask" in whole:
                bound = whole["mask"].bind(size, end, q_start=done, batch=len(starts), heads=self.subject.config.heads)
                step["mask"] = bound
            if "attention_mask" in whole:
                step["attention_mask"] = whole["attention_mask"][:, :end]
            if "position_ids" in whole:
                step["position_ids"] = whole["position_ids"][:, done:end]
            steps.append(step)
            done = end
        return steps


def pad_token(subject: Subject) -> int:
    """What the model calls padding, or the sequence's first token."""
    if subject.inputs.is_floating_point():
        raise CannotRun("this check needs token ids")
    for config in (subject.config, getattr(subject.config, "text_config", None)):
        token = getattr(config, "pad_token_id", None)
        if isinstance(token, int) and token >= 0 and token < (subject.vocab_size or token + 1):
            return token
    return int(subject.inputs[0])
