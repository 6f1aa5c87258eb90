"""The old address of `maskwork.proof.zoo`, kept for one release."""

import warnings

from .zoo import Honest, honest_models, hugging_face_models

__all__ = ["Honest", "honest_models", "hugging_face_models"]

warnings.warn("maskwork.proof.honest has moved, import from maskwork.proof.zoo", DeprecationWarning, stacklevel=2)
