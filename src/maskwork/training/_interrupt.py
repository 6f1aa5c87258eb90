"""Ctrl-C without half a step: the first Ctrl-C waits for a safe place, the second one raises at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Interrupts:
    """A context in which SIGINT sets a flag that `check` turns into `KeyboardInterrupt`.

    A second SIGINT raises at once. On exit the previous handler is installed again. Off the main thread, and where
    SIGINT is ignored (as `nohup` and `&` do), no handler is installed.
    """

    def __init__(self) -> None:
        self._pressed = False  # Ctrl-C was pressed at least once
        self._interruptible = False  # the block may end anywhere, so Ctrl-C raises in it
        self._installed = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        # Python runs handlers on the main thread alone; None is a handler that was not installed from Python.
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and previous not in (signal.SIG_IGN, None):
            self._previous = signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed."""
        if self._pressed:
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Mark a block that may end anywhere: the first Ctrl-C raises in the block."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT."""
        # The second Ctrl-C, or the first in a block that may end anywhere, doesn't wait for `check`.
        if self._pressed or self._interruptible:
            self._pressed = True
            raise KeyboardInterrupt
        self._pressed = True
