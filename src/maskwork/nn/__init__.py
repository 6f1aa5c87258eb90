"""Modules: mask, positions and cache are arguments of forward, never hidden state."""

from ._attention import Attention
from ._precomputed import PrecomputedMask
from ._rotary import (
    LinearScaling,
    NTKScaling,
    Rotary,
    RotaryScaling,
    YaRNScaling,
    frequencies,
    rotary_table,
    rotate,
)
from ._swiglu import SwiGLU

__all__ = [
    "Attention",
    "LinearScaling",
    "NTKScaling",
    "PrecomputedMask",
    "Rotary",
    "RotaryScaling",
    "SwiGLU",
    "YaRNScaling",
    "frequencies",
    "rotary_table",
    "rotate",
]
