"""Keep training fast on a machine that has something else to do; to be called before torch is imported."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Part of all processor time that others may use before the machine counts as busy.
_BUSY = 0.2


def settle_threads() -> None:
    """Let torch's threads sleep while they wait for one another, instead of spinning, on a busy machine.

    OpenMP threads spin by default, which is fastest while each has a processor to itself; with one other busy process
    on two processors, training was measured 14 times slower than with a short spin. On a quiet machine the short spin
    costs two fifths of the speed. Results are the same bits either way. An environment that says what it wants is left
    alone, and where /proc/stat does not exist nothing is done.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ and _others_share() > _BUSY:
        os.environ["GOMP_SPINCOUNT"] = "1000"


def _others_share(seconds: float = 0.2) -> float:
    """Return the part of processor time that was used, or stolen by the host, while this process slept."""
    # /proc/stat counts since boot: two readings, and what passed between them.
    try:
        before = _ticks()
        time.sleep(seconds)
        after = _ticks()
    except (OSError, ValueError, IndexError):
        return 0.0
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return 1.0 - (spent[3] + spent[4]) / max(sum(spent), 1)  # idle, and waiting for a disk


def _ticks() -> list[int]:
    """Return ticks since boot of all processors: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
