"""Does a model honour its mask? The audit, and the planted faults that it must catch."""

from ._audit import audit
from ._faults import FAULTS, plant
from ._report import Cause, Finding, Report

__all__ = ["FAULTS", "Cause", "Finding", "Report", "audit", "plant"]
