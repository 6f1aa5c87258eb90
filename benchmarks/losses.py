"""Time a loss computed from hidden states, with few scored positions and with all positions scored.

Each call is forward and backward in float32, with gradients of the hidden states and of the head. Time: contestants
take turns, and figures are medians over rounds. Seconds on the clock are judged; seconds of processor, which other
programs disturb less, are printed beside them. Memory: each contestant runs in a process of its own. Its figure is the
peak of resident memory during the call (Linux's VmHWM, reset before the call) above the memory after its inputs are
made and the operators have run once; the gradients count.

    python benchmarks/losses.py --json losses.json

The bars apply to the default sizes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _common import finish, in_processes, parser_of, resident

import maskwork as mw

FULL, OURS = "full logits, F.cross_entropy", "linear_masked_cross_entropy"

#: share of positions that are scored -> (least times faster than full logits, least times less memory)
BARS = {0.15: (4.0, 5.0), 1.0: (1 / 1.15, 4.0)}

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def contestants() -> dict[str, Loss]:
    """Return the losses by name, each a function of hidden (N, D), head (V, D) and targets (N,)."""
    losses: dict[str, Loss] = {
        FULL: lambda hidden, head, targets: F.cross_entropy(hidden @ head.T, targets),
        OURS: lambda hidden, head, targets: mw.linear_masked_cross_entropy(hidden, head, targets).loss,
        "full logits, masked_cross_entropy": lambda hidden, head, targets: (
            mw.masked_cross_entropy(hidden @ head.T, targets).loss
        ),
    }
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):  # torch 2.13
        options = torch.nn.LinearCrossEntropyOptions()
        losses["torch's linear_cross_entropy, chunked"] = lambda hidden, head, targets: F.linear_cross_entropy(
            hidden, head, targets, options=options
        )
    return losses


def inputs(share: float, positions: int, width: int, vocabulary: int) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, width, generator=g)
    head = torch.randn(vocabulary, width, generator=g) * width**-0.5
    targets = torch.randint(0, vocabulary, (positions,), generator=g)
    targets[torch.randperm(positions, generator=g)[round(share * positions) :]] = -100
    return hidden, head, targets


def forward_and_backward(loss: Loss, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Compute the loss and its gradients, and return the loss."""
    value = loss(hidden.detach().requires_grad_(), head.detach().requires_grad_(), targets)
    value.backward()
    return value.detach()


def seconds(share: float, sizes: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Measure each loss's median seconds on the clock and of the processor; the first round does not count."""
    tensors = inputs(share, *sizes)
    losses = contestants()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in losses}
    values: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, loss in losses.items():
            clock, processor = time.perf_counter(), time.process_time()
            values[name] = forward_and_backward(loss, *tensors).item()
            if turn:
                times[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {
        name: {
            "seconds": statistics.median(t[0] for t in turns),
            "processor": statistics.median(t[1] for t in turns),
            "loss": values[name],
        }
        for name, turns in times.items()
    }


def memory(name: str, share: float, *sizes: int) -> dict[str, float]:
    """Measure the peak of MB resident during one call, above those before the call."""
    loss = contestants()[name]
    forward_and_backward(loss, *inputs(share, 64, 64, 64))
    tensors = inputs(share, *sizes)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    forward_and_backward(loss, *tensors)
    return {"MB": resident("VmHWM") - before}


def table(share: float, sizes: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Measure and print one table, and return its figures."""
    rows = seconds(share, sizes, rounds)
    for name, row in rows.items():
        row |= in_processes(__file__, json.dumps([name, share, *sizes]), 1)
    print(f"\n{share:.0%} of the positions scored\n")
    print("| | seconds | times faster | of processor | times less | MB at the peak | times less |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    full = rows[FULL]
    for name, row in rows.items():
        for key in ("seconds", "processor", "MB"):
            row[f"{key}, times less"] = full[key] / max(row[key], 1e-9)
        print(
            f"| {name} | {row['seconds']:.2f} | {row['seconds, times less']:.2f} | {row['processor']:.2f} | "
            f"{row['processor, times less']:.2f} | {row['MB']:.0f} | {row['MB, times less']:.1f} |",
            flush=True,
        )
    return rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns that each contestant takes")
    parser.add_argument("--positions", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512, help="width of the hidden states")
    parser.add_argument("--vocabulary", type=int, default=32768)
    parser.add_argument(
        "--shares", type=float, nargs="*", default=list(BARS), choices=BARS, help="shares of scored positions"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(memory(*json.loads(options.worker))))
        return

    sizes = (options.positions, options.width, options.vocabulary)
    judged = sizes == (4096, 512, 32768)
    figures: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    missed: list[str] = []
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {options.rounds} rounds; "
        f"{sizes[0]} positions, hidden {sizes[1]}, vocabulary {sizes[2]}, float32, forward + backward"
    )
    for share in options.shares:
        faster, less = BARS[share]
        figures[f"{share:.0%}"] = rows = table(share, sizes, options.rounds)
        got = rows[OURS]
        if not got["seconds, times less"] >= faster:
            missed.append(f"{share:.0%} scored: {got['seconds, times less']:.2f} times faster, at least {faster:.2f}")
        if not got["MB, times less"] >= less:
            missed.append(f"{share:.0%} scored: {got['MB, times less']:.1f} times less memory, at least {less:.0f}")
    finish(figures, missed if judged else None, options.json)


if __name__ == "__main__":
    main()
