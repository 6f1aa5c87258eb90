"""HOW: attention under a mask, one file per implementation; the reference is the specification."""

from ._alibi import alibi
from ._attention import attention
from ._bias import PositionBias
from ._plan import Plan, plan
from ._relative_bias import relative_bias
from ._tiled import to_tiles

__all__ = ["Plan", "PositionBias", "alibi", "attention", "plan", "relative_bias", "to_tiles"]
