"""Assertions for other people's test suites; the pytest plugin is `maskwork.testing.plugin`."""

from ._assertions import assert_cache_exact, assert_honours, assert_packing_isolated, assert_padding_invariant

__all__ = ["assert_cache_exact", "assert_honours", "assert_packing_isolated", "assert_padding_invariant"]
