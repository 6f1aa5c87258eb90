"""Modules: mask, positions and cache are arguments of forward, never hidden state."""

from ._attention import Attention
from ._positions import LinearScaling, NTKScaling, YaRNScaling, rotate
from ._precomputed import PrecomputedMask
from ._rotary import Rotary
from ._swiglu import SwiGLU

__all__ = ["Attention", "LinearScaling", "NTKScaling", "PrecomputedMask", "Rotary", "SwiGLU", "YaRNScaling", "rotate"]
