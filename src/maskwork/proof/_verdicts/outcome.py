"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .report import Cause, Finding


@dataclass(frozen=True)
class Outcome:
    """Findings, what was compared, and why a check without findings is not clean all the same."""

    findings: list[Finding] = field(default_factory=list)
    evidence: str = ""
    warning: str = ""

    @property
    def state(self) -> str:
        return "leak" if self.findings else "warning" if self.warning else "clean"


@dataclass(frozen=True)
class Place:
    """Where an influence enters."""

    #: Qualified name; "" is the model's own code.
    module: str
    #: Whether that module, or a part of it, attends.
    attends: bool


def finding(
    check: str,
    pair: tuple[int, int | None],
    effect: float,
    pairs: int,
    cause: Cause | None,
    place: Place | None,
    evidence: str,
    drawn: str = "",
) -> Finding:
    """A finding at one (query, key) and one place, if that is known."""
    module = None if place is None else place.module
    modules = () if module is None else (module,)
    return Finding(check, *pair, effect, pairs, cause, module, modules, evidence, drawn)


def shortest(leaks: torch.Tensor) -> tuple[int, int]:
    """The (query, key) of the pairs in bool `(Q, K)` that lie closest together, the first of them."""
    q, k = leaks.nonzero(as_tuple=True)
    nearest = int((q - k).abs().argmin())
    return int(q[nearest]), int(k[nearest])
