"""What the benchmarks share: turns and their medians, memory, and how figures are told, written down and judged."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import maskwork as mw

# torch is imported where it is needed: benchmarks/masks.py measures memory above an import without it.


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser that prints the file's own first page and takes `--json`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    return parser


def finish(figures: dict[str, Any], missed: list[str] | None, path: Path | None) -> NoReturn:
    """Writes the figures, says which bars were missed (None: there are none) and exits with 1 where any was."""
    if missed is not None:
        figures["missed"] = missed
        print("\nmissed: " + ("; ".join(missed) or "nothing"))
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(1 if missed else 0)


def medians(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    few: tuple[str, ...] = (),
    wait: Callable[[], Any] = lambda: None,
) -> dict[str, float]:
    """Median milliseconds of each, after one call that does not count.

    Contestants take turns, so that what else the machine does meets all of them. Those in `few`, the slowest, have at
    most three turns. `wait` comes back when all work that was started is done.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, call in contestants.items():
            if name in few and turn > 3:
                continue
            wait()
            start = time.perf_counter()
            call()
            wait()
            if turn:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def forward_backward(call: Callable[..., Any], qkv: list[Any], d_out: Any) -> None:
    """One pass there and back, from leaves of its own."""
    leaves = [x.detach().requires_grad_() for x in qkv]
    call(*leaves).backward(d_out)


def in_processes(script: str, worker: str, runs: int) -> dict[str, float]:
    """The median of each figure that `script --worker …` prints as JSON, over fresh processes."""
    results: list[dict[str, float]] = []
    for _ in range(runs):
        command = [sys.executable, script, "--worker", worker]
        results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def resident(field: str) -> float:
    """MB resident now (VmRSS) or at the peak of this process (VmHWM), as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


@cache
def compiled_flex() -> Callable[..., Any]:
    """FlexAttention as its users run it: compiled, for one shape at a time."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


#: What attention is measured under; `mask_of` makes them.
MASKS = ("window 512", "documents of 700", "window 512 + 4 sinks", "Longformer", "prefix-LM 3000", "causal")


def mask_of(name: str, n: int) -> mw.Mask:
    """One of `MASKS`, its parameters cut to n tokens where they are longer."""
    return {
        "window 512": mw.causal() & mw.sliding_window(512),
        "documents of 700": mw.causal() & mw.document(documents(n)),
        "window 512 + 4 sinks": mw.causal() & (mw.sliding_window(512) | mw.sinks(4)),
        "Longformer": mw.band(256, 256) | mw.global_tokens(list(range(16))),
        "prefix-LM 3000": mw.causal() | mw.prefix(prefix(n)),
        "causal": mw.causal(),
    }[name]


def documents(n: int) -> list[int]:
    """Documents of 700 tokens, the last of what is left."""
    return [700] * (n // 700) + [n % 700] * (n % 700 > 0)


def prefix(n: int) -> int:
    """A prefix of 3000 tokens, or half of what there is."""
    return min(3000, n // 2)
