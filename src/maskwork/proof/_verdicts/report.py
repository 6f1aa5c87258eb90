"""The verdicts of an audit: the outcome of each check, its findings, and the report that joins them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from xml.sax.saxutils import escape, quoteattr


class Cause(StrEnum):
    """The fault that a pattern of leaks most likely comes from."""

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


# For each cause, the first thing to look at.
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
    """One leak: its shortest pair, how many pairs there are, and the first module that lets it in.

    Attributes:
        query: position of the output in the shortest forbidden pair: input `key` changes the output at `query`.
        key: position of the input; None where no single input is to blame.
        effect: largest absolute change of an output, or the largest gradient where only a gradient shows the flow.
        pairs: number of (query, key) pairs, or of positions where no key is to blame.
        module: qualified name of the first module at whose output the influence appears; "" is the model itself, None
            unknown.
        modules: every module that leaks, the first one included.
        evidence: by which method the leak shows, in which mode, and what float64 showed.
        picture: expected against observed, drawn in characters.
    """

    check: str
    query: int
    key: int | None
    effect: float
    pairs: int
    cause: Cause | None = None
    module: str | None = None
    modules: tuple[str, ...] = ()
    evidence: str = ""
    picture: str = field(default="", compare=False)

    @property
    def hint(self) -> str:
        """The first thing to look at in the model's code."""
        return _HINTS[self.cause] if self.cause else "no known pattern: look at the pairs near this one"

    def __str__(self) -> str:
        pair = f"output {self.query}" if self.key is None else f"input {self.key} reaches output {self.query}"
        place = "" if self.module is None else f" in {self.module or 'the model itself'}"
        # The first module is named; the others often leak for the same reason.
        if more := len(self.modules) - 1 if self.modules else 0:
            place += f" (and {more} more)"
        cause = f" [{self.cause}]" if self.cause else ""
        text = f"{self.check}: {pair}{place}, effect {self.effect:.3g}, {self.pairs} in all{cause}: {self.hint}"
        if self.evidence:
            text += f"\n    {self.evidence}"
        return text + "".join(f"\n    {line}" for line in self.picture.splitlines())


@dataclass(frozen=True)
class Site:
    """The module at which an influence enters.

    Attributes:
        module: qualified name; "" is the model's own code.
        attends: whether that module, or a part of it, attends.
    """

    module: str
    attends: bool


def make_finding(
    check: str,
    pair: tuple[int, int | None],
    effect: float,
    pairs: int,
    cause: Cause | None,
    site: Site | None,
    evidence: str,
    drawn: str = "",
) -> Finding:
    """Build a finding at one (query, key) and at one site, if that is known."""
    module = None if site is None else site.module
    modules = () if module is None else (module,)
    return Finding(check, *pair, effect, pairs, cause, module, modules, evidence, drawn)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check: findings, what was compared, and why a check without findings may not be clean."""

    findings: list[Finding] = field(default_factory=list)
    evidence: str = ""
    warning: str = ""

    @property
    def state(self) -> str:
        """The check's state in the report: "leak", "warning" or "clean"."""
        return "leak" if self.findings else "warning" if self.warning else "clean"


@dataclass(frozen=True)
class Report:
    """The report of `mw.audit`. `ok` is True when nothing leaks or is odd and the mask was really checked.

    Attributes:
        findings: the leaks of every check.
        checks: check -> "clean", "leak", "warning" or "cannot run: why".
        evidence: check -> what was compared, with figures.
        warnings: check -> why it is not clean though nothing leaks.
    """

    findings: tuple[Finding, ...]
    checks: Mapping[str, str]
    evidence: Mapping[str, str]
    warnings: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no leak and no warning, some check ran, and the check `mask` did if it was requested."""
        states = self.checks.values()
        # A check that cannot run says nothing against the model, but then another one has to be clean.
        fine = all(state == "clean" or state.startswith("cannot run") for state in states)
        return fine and "clean" in states and self.checks.get("mask", "clean") == "clean"

    @property
    def leaks(self) -> bool:
        """Whether any check found a leak."""
        return "leak" in self.checks.values()

    def to_json(self) -> str:
        """Return the report as JSON text."""
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
        """Return the report as a JUnit XML file for dashboards: one test case for each check."""
        cases: list[str] = []
        failures = skipped = 0
        for check, state in self.checks.items():
            # A warning is not ok, so it fails the test case as a leak does; a check that could not run is skipped.
            body = ""
            if state in ("leak", "warning"):
                failures += 1
                words = [str(f) for f in self.findings if f.check == check] + [self.warnings.get(check, "")]
                text = escape(_without_controls("\n".join(filter(None, words))))
                body = f"<failure message={quoteattr(state)}>{text}</failure>"
            elif state != "clean":
                skipped += 1
                body = f"<skipped message={quoteattr(_without_controls(state))}/>"
            cases.append(f"  <testcase classname={quoteattr(name)} name={quoteattr(check)}>{body}</testcase>")
        head = f'<testsuite name={quoteattr(name)} tests="{len(cases)}" failures="{failures}" skipped="{skipped}">'
        return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *cases, "</testsuite>", ""])

    def __str__(self) -> str:
        # One line for each check, its warning below, and the findings at the end.
        lines: list[str] = []
        for name, state in self.checks.items():
            lines.append(f"{name}: {state}  ({self.evidence.get(name, 'nothing compared')})")
            if name in self.warnings:
                lines.append(f"  warning: {self.warnings[name]}")
        lines += [f"  {finding}" for finding in self.findings]
        return "\n".join(["audit: ok" if self.ok else "audit: NOT ok", *lines])


def _without_controls(text: str) -> str:
    """Drop the control characters: XML 1.0 has none, not even escaped."""
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 32)
