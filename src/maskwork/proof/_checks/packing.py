"""The check `packing`: documents in one row come out as each does alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from ...errors import GridError
from ...lower import to_dense
from ...masks import Mask, causal, document
from .._expect import step_table
from .._probes.black_box import Sets, Whole
from .._probes.calls import Call, alone, packed
from .._probes.deviation import deviation
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._probes.tolerance import change, nan_words, tolerance, tolerance_words
from .._verdicts.cause import cause_of
from .._verdicts.outcome import Outcome, finding, shortest
from .._verdicts.picture import picture
from .._verdicts.report import Cause, Finding


def check_packing(subject: Subject, expect: Mask) -> Outcome:
    """Three documents: no other document's tokens change a bit, and each is as it is alone, in each way of calling."""
    if subject.inputs.is_floating_point():
        raise CannotRun("this check needs token ids")
    length = subject.length
    lengths = [length // 4, length // 2 - length // 8]
    lengths.append(length - sum(lengths))
    try:
        for n in lengths:  # each document is also run alone
            expect.bind(n)
    except GridError as error:
        raise CannotRun(f"the expected mask fits only the whole sequence: {error}") from None
    sees_past = bool(expect.bind(length).subset_of(causal()))
    calls = packed(subject, expect, lengths, 1, sees_past)
    parts = subject.rows(1).split(lengths, dim=1)

    @cache
    def single() -> torch.Tensor:
        return torch.cat([subject.run(p, **alone(subject, expect, p.shape[1]))[0] for p in parts])

    findings: list[Finding] = []
    evidence: list[str] = []
    warning = ""
    for i, call in enumerate(calls):
        outcome = _one_call(subject, expect, lengths, call, i, sees_past, single)
        findings += outcome.findings
        evidence.append(f"{call.name}: {outcome.evidence}")
        warning = warning or outcome.warning
    return Outcome(findings, "; ".join(evidence), warning)


def _one_call(
    subject: Subject,
    expect: Mask,
    lengths: list[int],
    call: Call,
    at: int,
    sees_past: bool,
    each_alone: Callable[[], torch.Tensor],
) -> Outcome:
    length = sum(lengths)

    def run(inputs: torch.Tensor, subject: Subject = subject) -> torch.Tensor:
        parts = inputs.split(1) if call.flat else [inputs]
        return torch.cat(
            [subject.run(p, **packed(subject, expect, lengths, len(p), sees_past)[at].options) for p in parts]
        )

    whole = Whole(subject, run, len(lengths))
    documents = to_dense(document(lengths).bind(length))[0, 0]
    sets = Sets.of(documents)
    influences = whole.forbidden(sets)
    if influences.unsettled:
        wide = subject.float64()
        if wide is not None:
            influences = whole.forbidden(sets, settle=Whole(wide, lambda inputs: run(inputs, wide), len(lengths)))
    if (influences.effect > 0).any():
        return Outcome(
            [_joined(subject, whole, documents, expect, sets, influences.effect, run, call)], "documents meet"
        )
    together = whole.before[0]
    single = each_alone()
    differ = change(single, together).cpu()
    room = tolerance(single, subject.model)
    words = f"other documents' tokens change no bit; alone and packed differ by at most {float(differ.max()):.2g}, "
    words += tolerance_words(single, subject.model)
    wrong = int((differ > room).sum())
    if not wrong:
        return Outcome([], words, nan_words(together))
    document_at = int(differ.argmax())
    start = 0
    for n in lengths:
        if document_at < start + n:
            break
        start += n
    part = slice(start, start + n)
    place = deviation(
        subject,
        (lambda: subject.run(subject.rows(1)[:, part], **alone(subject, expect, n)), slice(None), 0),
        (lambda: run(subject.rows(1)), part, 0),
    )
    words = f"{call.name}: a document differs from itself alone"
    cause, at = Cause.POSITIONS_NOT_RESTARTED, (document_at, None)
    leak = finding("packing", at, float(differ.max()), wrong, cause, place, words)
    return Outcome([leak], "documents differ from themselves alone")


def _joined(
    subject: Subject,
    whole: Whole,
    documents: torch.Tensor,
    expect: Mask,
    sets: Sets,
    effect: torch.Tensor,
    run: Callable[[torch.Tensor, Subject], torch.Tensor],
    call: Call,
) -> Finding:
    # In a large model only what the sets show: one pair for each output that changed.
    large = whole.substitutions(len(documents)) == 1
    seen = documents.clone() if large else whole.pairs() > 0
    leaks = seen & ~documents
    if not leaks.any():
        leaks = sets.nearest(effect)
        seen = seen | leaks
    worst = int(effect.amax(1).argmax())
    place = locate(
        subject, sets.keys[worst], sets.queries[worst], lambda s, inputs: run(inputs, s), rows=1 if call.flat else 3
    )
    allowed = step_table(expect, len(documents)) & documents
    pair = shortest(leaks)
    cause = Cause.DOCUMENTS_JOINED if large else cause_of(leaks, seen, allowed, documents=documents)
    if place is not None and place.module and not place.attends:
        cause = Cause.MIXES_OUTSIDE_ATTENTION
    drawn = picture(allowed, seen, *pair)
    words = f"through {call.name}"
    if "default" in call.name:
        words += "; with a cache in use the model does not look for documents: pass use_cache=False"
    return finding("packing", pair, float(effect.max()), int(leaks.sum()), cause, place, words, drawn)
