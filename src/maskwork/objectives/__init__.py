"""WHAT IS SCORED: batches, objectives that make them, and the loss that reads them."""

from ._batch import IGNORED, Batch, Objective
from ._causal_lm import CausalLM
from ._cross_entropy import LossOutput, masked_cross_entropy

__all__ = ["IGNORED", "Batch", "CausalLM", "LossOutput", "Objective", "masked_cross_entropy"]
