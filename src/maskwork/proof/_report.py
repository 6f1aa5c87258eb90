"""What an audit says: findings, and for each check clean, leak, warning or why it could not run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What most likely went wrong."""

    NO_MASK = "no_mask"
    OFF_BY_ONE = "off_by_one"
    DOCUMENTS_JOINED = "documents_joined"
    POSITIONS_NOT_RESTARTED = "positions_not_restarted"
    CACHE_MASK = "cache_mask"


_HINTS = {
    Cause.NO_MASK: "attention sees every later token, or something outside attention mixes positions: pass the mask",
    Cause.OFF_BY_ONE: "each layer sees one token too far: compare k <= q with k < q + 1 + 1, and the target's shift",
    Cause.DOCUMENTS_JOINED: "packed documents see each other: give attention mw.within(mask, lengths)",
    Cause.POSITIONS_NOT_RESTARTED: "a document depends on where it lies in the row: restart position_ids in each",
    Cause.CACHE_MASK: "decoding with the cache computes something else: check q_start, positions and what is appended",
}


@dataclass(frozen=True)
class Finding:
    """One leak: its strongest pair, and how many pairs there are."""

    check: str
    #: Positions of the pair with the largest effect: changing token `key` changes the output at `query`.
    query: int
    key: int | None
    #: Largest absolute change of an output.
    effect: float
    #: Number of (query, key) pairs, or of positions where no key is to blame.
    pairs: int
    cause: Cause | None = None

    @property
    def hint(self) -> str:
        """What to look at first."""
        return _HINTS[self.cause] if self.cause else "no known pattern: look at the pairs near this one"

    def __str__(self) -> str:
        blame = f"output {self.query}" if self.key is None else f"token {self.key} reaches output {self.query}"
        cause = f" [{self.cause}]" if self.cause else ""
        return f"{self.check}: {blame}, effect {self.effect:.3g}, {self.pairs} in all{cause}: {self.hint}"


@dataclass(frozen=True)
class Report:
    """The answer of `mw.audit`. `ok` is True when no check found a leak or anything odd, and at least one could run."""

    findings: tuple[Finding, ...]
    #: check -> "clean", "leak", "warning: …" or "cannot run: …"
    checks: Mapping[str, str]
    #: check -> what was compared, with figures
    evidence: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """No leak, no warning, and something was really checked."""
        states = self.checks.values()
        return "clean" in states and all(state == "clean" or state.startswith("cannot run") for state in states)

    def to_json(self) -> str:
        """The whole report as JSON text."""
        findings = [{**asdict(finding), "hint": finding.hint} for finding in self.findings]
        return json.dumps(
            {
                "ok": self.ok,
                "checks": dict(self.checks),
                "evidence": dict(self.evidence),
                "findings": findings,
            },
            indent=2,
        )

    def __str__(self) -> str:
        lines = [
            f"{name}: {state}  ({self.evidence.get(name, 'nothing compared')})" for name, state in self.checks.items()
        ]
        lines += [f"  {finding}" for finding in self.findings]
        return "\n".join(["audit: ok" if self.ok else "audit: NOT ok", *lines])
