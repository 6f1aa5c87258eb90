"""Does a model honour its mask? The audit, and the planted faults that it must catch."""

from ._audit import CHECKS, USUAL_CHECKS, audit
from ._faults import FAULTS, plant
from ._report import Cause, Finding, Report
from ._substitutes import special_tokens

__all__ = ["CHECKS", "FAULTS", "USUAL_CHECKS", "Cause", "Finding", "Report", "audit", "plant", "special_tokens"]
