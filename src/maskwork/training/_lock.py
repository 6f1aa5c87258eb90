"""A run is trained by one process at a time: two would mix their lines of metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold the folder for this process, or raise `RunError`. Where the system has no such locks, nothing is held.

    The folder itself is locked, not a file in it: nothing stays behind, and the lock ends with the process.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"a run is trained by one process at a time; '{folder}' is in use by another process; wait for it or "
                "end it"
            ) from None
        except OSError:
            pass  # some network file systems have no such locks
        yield
    finally:
        os.close(descriptor)
