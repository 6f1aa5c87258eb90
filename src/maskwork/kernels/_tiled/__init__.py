"""Query tiles against exactly the keys that they see, forward and backward, on the CPU."""

from ._attend import attend, cannot, not_worth_it

__all__ = ["attend", "cannot", "not_worth_it"]
