"""Ctrl-C without half a step: the first one waits for a safe place, the second doesn't."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self


class Interrupts:
    """While entered, SIGINT sets a flag that `check` turns into `KeyboardInterrupt`; a second SIGINT raises
    at once.

    The previous handler is put back on the way out. Off the main thread, and where SIGINT is ignored (as
    `nohup` and `&` do), nothing is installed.
    """

    def __init__(self) -> None:
        self._asked = False
        self._at_once = False
        self._installed = False
        self._previous: Any = None

    def __enter__(self) -> Self:
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
        if self._asked:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A stretch that may be broken off anywhere: the first Ctrl-C raises in it."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked or self._at_once:
            self._asked = True
            raise KeyboardInterrupt
        self._asked = True
