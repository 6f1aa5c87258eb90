"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._report import Finding


@dataclass(frozen=True)
class Outcome:
    """Findings, what was compared, and why a check without findings is not clean all the same."""

    findings: list[Finding] = field(default_factory=list)
    evidence: str = ""
    warning: str = ""

    @property
    def state(self) -> str:
        return "leak" if self.findings else "warning" if self.warning else "clean"


def shortest(leaks) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    """The (query, key) of a bool table's pairs that lie closest together, the first of them."""
    q, k = leaks.nonzero(as_tuple=True)
    nearest = int((q - k).abs().argmin())
    return int(q[nearest]), int(k[nearest])
