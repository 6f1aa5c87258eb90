"""HOW A SCORE BECOMES A LOSS: cross-entropy under a loss mask, fused with the head or not, and counted targets."""

from ._count_targets import TargetCounts, count_targets
from ._cross_entropy import masked_cross_entropy
from ._linear_cross_entropy import linear_masked_cross_entropy
from ._scored import LossOutput

__all__ = ["LossOutput", "TargetCounts", "count_targets", "linear_masked_cross_entropy", "masked_cross_entropy"]
