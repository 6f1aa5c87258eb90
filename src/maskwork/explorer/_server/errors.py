"""The errors of a question that breaks no rule and yet has no answer; the server sends them with status 503."""

from __future__ import annotations

from ...errors import MaskworkError


class Unanswered(MaskworkError):
    """The error of a question that cannot be answered now: too many wait, the process ended, or the server does."""


class TooCostly(Unanswered):
    """The error of a question that took longer, or needed more memory, than its limit."""
