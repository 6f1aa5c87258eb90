"""Assertions for other people's test suites."""

from ._assertions import assert_honours

__all__ = ["assert_honours"]
