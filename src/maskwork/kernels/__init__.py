"""HOW: attention under a mask, one file per implementation; the reference is the specification."""

from ._attention import attention
from ._bias import PositionBias, alibi, relative_bias
from ._plan import Plan, plan
from ._tiled.schedule import to_tiles

__all__ = ["Plan", "PositionBias", "alibi", "attention", "plan", "relative_bias", "to_tiles"]
