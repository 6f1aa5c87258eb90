"""Modules: mask, positions and cache are arguments of forward, never hidden state."""

from ._attention import Attention
from ._rotary import Rotary, rotate
from ._swiglu import SwiGLU

__all__ = ["Attention", "Rotary", "SwiGLU", "rotate"]
