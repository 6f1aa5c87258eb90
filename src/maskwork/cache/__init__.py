"""KV caches: what generation remembers, so that each step attends instead of recomputing."""

from ._contiguous import KVCache

__all__ = ["KVCache"]
