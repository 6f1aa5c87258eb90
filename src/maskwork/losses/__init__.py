"""Cross-entropy under a loss mask, fused with the head or not, and the counting of targets. No objective is needed."""

from ._count_targets import TargetCounts, count_targets
from ._cross_entropy import masked_cross_entropy
from ._linear_cross_entropy import linear_masked_cross_entropy
from ._output import LossOutput

__all__ = ["LossOutput", "TargetCounts", "count_targets", "linear_masked_cross_entropy", "masked_cross_entropy"]
