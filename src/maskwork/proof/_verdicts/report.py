"""What an audit says: findings, and for each check clean, leak, warning or why it could not run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from xml.sax.saxutils import escape, quoteattr


class Cause(StrEnum):
    """What most likely went wrong."""

    NO_MASK = "no_mask"
    OFF_BY_ONE = "off_by_one"
    WINDOW_OFF_BY_ONE = "window_off_by_one"
    MASK_VALUE_TOO_SMALL = "mask_value_too_small"
    ALIGNMENT = "alignment"
    POLARITY = "polarity"
    PADDING_VISIBLE = "padding_visible"
    DOCUMENTS_JOINED = "documents_joined"
    POSITIONS_NOT_RESTARTED = "positions_not_restarted"
    CACHE_MASK = "cache_mask"
    MIXES_OUTSIDE_ATTENTION = "mixes_outside_attention"


_HINTS = {
    Cause.NO_MASK: "attention sees what the mask forbids, whatever the distance: pass the mask",
    Cause.OFF_BY_ONE: "one token too far: compare k <= q with k <= q + 1, and how targets are shifted",
    Cause.WINDOW_OFF_BY_ONE: "the window is one key too wide: a window of W counts its own token, q - W < k",
    Cause.MASK_VALUE_TOO_SMALL: "forbidden keys keep a weight: add -inf or the dtype's minimum, not a number or a bool",
    Cause.ALIGNMENT: "queries and keys differ in number: say where query 0 stands; with a cache, at the past's length",
    Cause.POLARITY: "the forbidden is seen and the allowed is not: True means may attend here, ignore elsewhere",
    Cause.PADDING_VISIBLE: "padding reaches real positions: give attention the padding mask",
    Cause.DOCUMENTS_JOINED: "packed documents see each other: give attention mw.within(mask, lengths)",
    Cause.POSITIONS_NOT_RESTARTED: "the output depends on where the sequence lies in its row: restart position_ids",
    Cause.CACHE_MASK: "decoding with the cache computes something else: check its mask, positions and what is appended",
    Cause.MIXES_OUTSIDE_ATTENTION: (
        "not attention: normalisation, convolution padding, pooling, routing or a recurrence along the sequence"
    ),
}


@dataclass(frozen=True)
class Finding:
    """One leak: its shortest pair, how many pairs there are, and the first module that lets it in."""

    check: str
    #: Positions of the shortest forbidden pair: input `key` changes the output at `query`.
    query: int
    key: int | None
    #: Largest absolute change of an output, or the largest gradient where only a gradient shows the flow.
    effect: float
    #: Number of (query, key) pairs, or of positions where no key is to blame.
    pairs: int
    cause: Cause | None = None
    #: Qualified name of the first module at whose output the influence appears; "" is the model itself, None unknown.
    module: str | None = None
    #: Every module that leaks, the first one included.
    modules: tuple[str, ...] = ()
    #: How it was told: by which method, in which mode, what float64 said.
    evidence: str = ""
    #: Expected against observed, drawn.
    picture: str = field(default="", compare=False)

    @property
    def hint(self) -> str:
        """What to look at first."""
        return _HINTS[self.cause] if self.cause else "no known pattern: look at the pairs near this one"

    def __str__(self) -> str:
        blame = f"output {self.query}" if self.key is None else f"input {self.key} reaches output {self.query}"
        where = "" if self.module is None else f" in {self.module or 'the model itself'}"
        if others := len(self.modules) - 1 if self.modules else 0:
            where += f" (and {others} more)"
        cause = f" [{self.cause}]" if self.cause else ""
        text = f"{self.check}: {blame}{where}, effect {self.effect:.3g}, {self.pairs} in all{cause}: {self.hint}"
        if self.evidence:
            text += f"\n    {self.evidence}"
        return text + "".join(f"\n    {line}" for line in self.picture.splitlines())


@dataclass(frozen=True)
class Report:
    """The answer of `mw.audit`. `ok` is True when nothing leaks or is odd and the mask was really checked."""

    findings: tuple[Finding, ...]
    #: check -> "clean", "leak", "warning" or "cannot run: why"
    checks: Mapping[str, str]
    #: check -> what was compared, with figures
    evidence: Mapping[str, str]
    #: check -> why it is not clean though nothing leaks
    warnings: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No leak, no warning, something was really checked, and the mask was if that was asked for."""
        states = self.checks.values()
        fine = all(state == "clean" or state.startswith("cannot run") for state in states)
        return fine and "clean" in states and self.checks.get("mask", "clean") == "clean"

    @property
    def leaks(self) -> bool:
        """Whether any check found a leak."""
        return "leak" in self.checks.values()

    def to_json(self) -> str:
        """The whole report as JSON text."""
        findings = [{**asdict(finding), "hint": finding.hint} for finding in self.findings]
        return json.dumps(
            {
                "ok": self.ok,
                "checks": dict(self.checks),
                "evidence": dict(self.evidence),
                "warnings": dict(self.warnings),
                "findings": findings,
            },
            indent=2,
        )

    def to_junit(self, name: str = "maskwork audit") -> str:
        """The report as a JUnit XML file: one test case for each check, for dashboards that read those."""
        cases: list[str] = []
        failures = skipped = 0
        for check, state in self.checks.items():
            body = ""
            if state in ("leak", "warning"):
                failures += 1
                words = [str(f) for f in self.findings if f.check == check] + [self.warnings.get(check, "")]
                text = escape(_printable("\n".join(filter(None, words))))
                body = f"<failure message={quoteattr(state)}>{text}</failure>"
            elif state != "clean":
                skipped += 1
                body = f"<skipped message={quoteattr(_printable(state))}/>"
            cases.append(f"  <testcase classname={quoteattr(name)} name={quoteattr(check)}>{body}</testcase>")
        head = f'<testsuite name={quoteattr(name)} tests="{len(cases)}" failures="{failures}" skipped="{skipped}">'
        return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *cases, "</testsuite>", ""])

    def __str__(self) -> str:
        lines: list[str] = []
        for name, state in self.checks.items():
            lines.append(f"{name}: {state}  ({self.evidence.get(name, 'nothing compared')})")
            if name in self.warnings:
                lines.append(f"  warning: {self.warnings[name]}")
        lines += [f"  {finding}" for finding in self.findings]
        return "\n".join(["audit: ok" if self.ok else "audit: NOT ok", *lines])


def _printable(text: str) -> str:
    """XML 1.0 has no control characters, not even escaped."""
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 32)
