"""The old address of `maskwork.proof.zoo`, kept for one release."""

import warnings

from .zoo import Mutant, mutants

__all__ = ["Mutant", "mutants"]

warnings.warn("maskwork.proof.mutants has moved, import from maskwork.proof.zoo", DeprecationWarning, stacklevel=2)
