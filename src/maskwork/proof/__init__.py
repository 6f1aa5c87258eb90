"""Does a model honour its mask? The audit, and the planted faults that it must catch."""

from ._audit import CHECKS, USUAL_CHECKS, audit
from ._probes.subject import special_tokens
from ._verdicts.report import Cause, Finding, Report
from .zoo import FAULTS, plant

__all__ = ["CHECKS", "FAULTS", "USUAL_CHECKS", "Cause", "Finding", "Report", "audit", "plant", "special_tokens"]
