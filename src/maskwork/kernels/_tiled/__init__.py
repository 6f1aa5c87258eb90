"""Query tiles against exactly the keys that they see, forward and backward, on the CPU."""

from .attend import attend as run_tiles
from .attend import beats_is_causal, cannot, not_worth_it

__all__ = ["beats_is_causal", "cannot", "not_worth_it", "run_tiles"]
