"""The old address of `maskwork.proof.zoo`, kept for one release."""

import warnings

from .zoo import Functional, Output, Specimen, seeded, tokens

__all__ = ["Functional", "Output", "Specimen", "seeded", "tokens"]

warnings.warn("maskwork.proof.specimens has moved, import from maskwork.proof.zoo", DeprecationWarning, stacklevel=2)
