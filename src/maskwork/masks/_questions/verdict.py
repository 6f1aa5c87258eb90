"""`Verdict`: the answer to a question about two masks, with a cell that shows it when the answer is no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The answer to a question about two masks: true, or false with a counterexample.

    Attributes:
        claim: the statement that is judged.
        counterexample: a cell `(b, h, q, k)` in absolute positions, None when the claim holds.

    >>> import maskwork as mw
    >>> verdict = mw.full().bind(4).subset_of(mw.causal())
    >>> bool(verdict), verdict.counterexample
    (False, (0, 0, 0, 1))
    """

    claim: str
    counterexample: tuple[int, int, int, int] | None

    def __bool__(self) -> bool:
        return self.counterexample is None

    def __str__(self) -> str:
        if self.counterexample is None:
            return f"holds: {self.claim}"
        b, h, q, k = self.counterexample
        return f"does not hold: {self.claim}; for example batch {b}, head {h}, query {q}, key {k}"
