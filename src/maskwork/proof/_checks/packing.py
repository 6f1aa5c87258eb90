"""The check `packing`: documents in one row come out as each does alone."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate

import torch

from ...errors import GridError
from ...lower import to_dense
from ...masks import Mask, document
from .._expect import sees_later_keys, table_of
from .._probes.calling_conventions import CallingConvention, alone, packed
from .._probes.locate import ComparedCall, locate, locate_deviation
from .._probes.subject import CannotRun, Subject
from .._probes.tolerance import change, nan_words, tolerance, tolerance_words
from .._probes.whole_model import BlackBox, ForbiddenSets
from .._verdicts.patterns import cause_of, picture, shortest_pair
from .._verdicts.report import Cause, Finding, Outcome, make_finding


def check_packing(subject: Subject, expect: Mask) -> Outcome:
    """Check each calling convention: no other document changes a bit, and each document comes out as it does alone.

    The sequence is cut into three documents of different lengths:

        tokens      a b c d e f g h i j k l
        documents   0 0 0 1 1 1 1 1 2 2 2 2
    """
    if subject.inputs.is_floating_point():
        raise CannotRun("this check needs token ids")
    length = subject.length
    # The documents' lengths differ, so that a fault cannot hide behind equal positions.
    lengths = [length // 4, length // 2 - length // 8]
    lengths.append(length - sum(lengths))
    try:
        for n in lengths:  # each document is also run alone
            expect.bind(n)
    except GridError as error:
        raise CannotRun(f"the expected mask fits only the whole sequence: {error}") from None
    row = _PackedDocuments(subject, expect, lengths)
    findings: list[Finding] = []
    evidence: list[str] = []
    warning = ""
    for i, convention in enumerate(row.conventions(rows=1)):
        outcome = _check_convention(row, convention, i)
        findings += outcome.findings
        evidence.append(f"{convention.name}: {outcome.evidence}")
        warning = warning or outcome.warning
    return Outcome(findings, "; ".join(evidence), warning)


class _PackedDocuments:
    """The sequence as one row of three documents, and each of them alone."""

    def __init__(self, subject: Subject, expect: Mask, lengths: list[int]) -> None:
        self.subject, self.expect, self.lengths = subject, expect, lengths
        self.causal = not sees_later_keys(expect, sum(lengths))
        #: bool `(L, L)`: positions of the same document.
        self.table = to_dense(document(lengths).bind(sum(lengths)))[0, 0]

    def conventions(self, rows: int) -> list[CallingConvention]:
        """Return the ways in which the model takes these documents in each of `rows` rows."""
        return packed(self.subject, self.expect, self.lengths, rows, self.causal)

    def run(self, inputs: torch.Tensor, index: int, subject: Subject | None = None) -> torch.Tensor:
        """Run packed rows `(B, L)` in the convention of this index, with a copy of the model if one is given."""
        flat = self.conventions(rows=1)[index].flat
        # A flat convention describes one row, so the rows of a batch are run one after another.
        parts = inputs.split(1) if flat else [inputs]
        model = subject or self.subject
        return torch.cat([model.run(p, **self.conventions(len(p))[index].options) for p in parts])

    def run_alone(self, part: slice) -> torch.Tensor:
        """Run the tokens of one document as a row of its own."""
        ids = self.subject.rows(1)[:, part]
        return self.subject.run(ids, **alone(self.subject, self.expect, ids.shape[1]))

    @cached_property
    def each_alone(self) -> torch.Tensor:
        """Outputs `(L, …)` of the documents, each run alone."""
        return torch.cat([self.run_alone(part)[0] for part in self.parts])

    @property
    def parts(self) -> list[slice]:
        """The positions of each document."""
        return [slice(end - n, end) for n, end in zip(self.lengths, accumulate(self.lengths), strict=True)]


def _check_convention(row: _PackedDocuments, convention: CallingConvention, index: int) -> Outcome:
    subject, lengths = row.subject, row.lengths
    black_box = BlackBox(subject, lambda inputs: row.run(inputs, index), len(lengths))
    sets = ForbiddenSets.from_allowed(row.table)
    effects = black_box.forbidden(sets)
    if effects.unsettled:
        wide = subject.float64()
        if wide is not None:
            exact = BlackBox(wide, lambda inputs: row.run(inputs, index, wide), len(lengths))
            effects = black_box.forbidden(sets, settle=exact)
    if (effects.effect > 0).any():
        return Outcome([_joined(row, black_box, sets, effects.effect, convention, index)], "documents meet")
    # No other document changes a bit. Now its place: alone, a document has other positions in its row.
    together = black_box.baseline[0]
    single = row.each_alone
    differ = change(single, together).cpu()
    room = tolerance(single, subject.model)
    words = f"other documents' tokens change no bit; alone and packed differ by at most {float(differ.max()):.2g}, "
    words += tolerance_words(single, subject.model)
    wrong = int((differ > room).sum())
    if not wrong:
        return Outcome([], words, nan_words(together))
    # The document that differs most, alone and in the row.
    worst = int(differ.argmax())
    part = next(part for part in row.parts if worst < part.stop)
    site = locate_deviation(
        subject,
        ComparedCall(lambda: row.run_alone(part)),
        ComparedCall(lambda: row.run(subject.rows(1), index), part),
    )
    words = f"{convention.name}: a document differs from itself alone"
    cause, pair = Cause.POSITIONS_NOT_RESTARTED, (worst, None)
    leak = make_finding("packing", pair, float(differ.max()), wrong, cause, site, words)
    return Outcome([leak], "documents differ from themselves alone")


def _joined(
    row: _PackedDocuments,
    black_box: BlackBox,
    sets: ForbiddenSets,
    effect: torch.Tensor,
    convention: CallingConvention,
    index: int,
) -> Finding:
    documents = row.table
    # A large model is judged by the sets alone: one pair for each output that changed.
    large = black_box.substitutions(len(documents)) == 1
    observed = documents.clone() if large else black_box.pairs() > 0
    leaks = observed & ~documents
    if not leaks.any():
        leaks = sets.nearest(effect)
        observed = observed | leaks
    worst = int(effect.amax(1).argmax())
    site = locate(
        row.subject,
        sets.keys[worst],
        sets.queries[worst],
        lambda subject, inputs: row.run(inputs, index, subject),
        rows=1 if convention.flat else 3,
    )
    allowed = table_of(row.expect, len(documents)) & documents
    pair = shortest_pair(leaks)
    cause = Cause.DOCUMENTS_JOINED if large else cause_of(leaks, observed, allowed, documents=documents)
    # Attention is not at fault where a module without attention is the first to differ.
    if site is not None and site.module and not site.attends:
        cause = Cause.MIXES_OUTSIDE_ATTENTION
    drawn = picture(allowed, observed, *pair)
    words = f"through {convention.name}"
    if "default" in convention.name:
        words += "; with a cache in use the model does not look for documents: pass use_cache=False"
    return make_finding("packing", pair, float(effect.max()), int(leaks.sum()), cause, site, words, drawn)
