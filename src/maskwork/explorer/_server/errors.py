"""Why a question that breaks no rule has no answer."""

from __future__ import annotations

from ...errors import MaskworkError


class Unanswered(MaskworkError):
    """The explorer could not answer now: too many ask, its process ended, or the server does."""


class TooCostly(Unanswered):
    """A question took longer, or needed more memory, than the explorer gives one."""
