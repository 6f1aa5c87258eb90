"""Helpers of all benchmarks: medians of alternating calls, memory, printing, JSON and the exit code."""

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

# torch is imported inside functions, not here: benchmarks/masks.py measures memory in a process without torch.


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that prints the file's docstring as its help and takes `--json`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    return parser


def finish(figures: dict[str, Any], missed: list[str] | None, path: Path | None) -> NoReturn:
    """Write the figures, print the missed bars (None: there are no bars) and exit with 1 if a bar was missed."""
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
    """Measure the median milliseconds of each contestant, after one uncounted call.

    Contestants take turns, so that other programs on the machine slow all of them alike. The slowest, those in `few`,
    have at most three turns. `wait` returns when all started work is done.
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
    """Run one forward and backward pass from new leaf tensors."""
    leaves = [x.detach().requires_grad_() for x in qkv]
    call(*leaves).backward(d_out)


def in_processes(script: str, worker: str, runs: int) -> dict[str, float]:
    """Return the median, over fresh processes, of each figure that `script --worker …` prints as JSON."""
    results: list[dict[str, float]] = []
    for _ in range(runs):
        command = [sys.executable, script, "--worker", worker]
        results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def resident(field: str) -> float:
    """Read from Linux the MB resident now (VmRSS) or at the peak of this process (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


@cache
def compiled_flex() -> Callable[..., Any]:
    """Return FlexAttention as its users run it: compiled, for one shape at a time."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


#: The names of the masks under which attention is measured; `mask_of` makes the masks.
MASKS = ("window 512", "documents of 700", "window 512 + 4 sinks", "Longformer", "prefix-LM 3000", "causal")


def mask_of(name: str, n: int) -> mw.Mask:
    """Return one of `MASKS`; parameters longer than n tokens are cut to n."""
    return {
        "window 512": mw.causal() & mw.sliding_window(512),
        "documents of 700": mw.causal() & mw.document(documents(n)),
        "window 512 + 4 sinks": mw.causal() & (mw.sliding_window(512) | mw.sinks(4)),
        "Longformer": mw.band(256, 256) | mw.global_tokens(list(range(16))),
        "prefix-LM 3000": mw.causal() | mw.prefix(prefix(n)),
        "causal": mw.causal(),
    }[name]


def documents(n: int) -> list[int]:
    """Return the lengths of documents of 700 tokens; the last document has the remaining tokens."""
    return [700] * (n // 700) + [n % 700] * (n % 700 > 0)


def prefix(n: int) -> int:
    """Return the length of the prefix: 3000 tokens, or half of the sequence."""
    return min(3000, n // 2)
