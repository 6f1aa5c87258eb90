"""Time masks of many runs a row: dense forms, narrow masks joined with them, masks that ignore the query.

Every figure is the least of a few calls in one process, each on a mask made anew; the ratios are taken side by side.
MB is the peak that NumPy and Python allocate, torch's tensors not counted. The last line is a step of training.

    python benchmarks/masks_many_runs.py --json many_runs.json
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _common import finish, parser_of

import maskwork as mw

MILLION = 10**6


def least(call: Callable[[], Any], runs: int) -> float:
    """Return the least seconds of `runs` calls, after one that is not counted."""
    call()
    seconds: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak(call: Callable[[], Any]) -> float:
    """Return the most MB that a call holds at once."""
    tracemalloc.start()
    call()
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held / 1e6


def cells() -> np.ndarray:
    """Return a mask that depends on data, 1024 x 1024, with about 256 runs a row."""
    return np.random.default_rng(0).random((1024, 1024)) < 0.5


def narrow_and_many(n: int = 70_000) -> int:
    """Count a window of 8 keys, of which every other one is real."""
    return (mw.sliding_window(8) & mw.real([1, 0] * (n // 2))).bind(n).allowed


def image(side: int = 256) -> int:
    """Count NATTEN's 7 x 7 neighborhood on a square image of which a tenth of the keys is dropped."""
    real = np.random.default_rng(0).random(side * side) < 0.9
    return (mw.neighborhood((side, side), (7, 7)) & mw.real(real)).bind(side * side).allowed


def all_questions(n: int = MILLION) -> None:
    """Ask a mask that ignores the query all but its reach, whose rows differ: each also sees itself."""
    mask = mw.real(np.random.default_rng(0).random(n) < 0.5)
    bound = mask.bind(n)
    edges = np.linspace(0, n, 513).astype(np.int64)
    _ = bound.allowed, bound.density
    bound.count(5, n // 2, 7, n - 3)
    bound.tiles(edges, edges)
    bound.blocks(128)
    bound.rows(10, 20)
    bound.empty_rows()
    bound.last_seen()
    bound.explain(n - 1, 17)
    bound.cost(32, 32, 8, 128, "bfloat16")
    bound.subset_of(mask), bound.equals(mask), bound.disjoint(~mask)
    bound.diff(mw.full())


def step(attend: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
    """Return a step forward and backward of 8 heads on 1024 tokens."""
    x = torch.randn(1, 8, 1024, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def call() -> None:
        x.grad = None
        attend(x).square().mean().backward()

    return call


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=5, help="calls per figure")
    options = parser.parse_args()
    array = cells()
    many = mw.from_dense(array)
    tensor = torch.from_numpy(array)
    dense = least(lambda: mw.lower.to_dense(many.bind(1024)), options.runs)
    numpy = least(cells, options.runs)
    ours = least(step(lambda x: mw.attention(x, x, x, mw.from_dense(array))), options.runs)
    sdpa = least(
        step(lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=tensor)), options.runs
    )
    figures: dict[str, tuple[float, float]] = {  # figure and its bar
        "to_dense of a mask of many runs at 1024, to making it in NumPy": (dense / numpy, 5),
        "narrow & many runs at 70,000, seconds": (least(narrow_and_many, options.runs), 0.5),
        "narrow & many runs at 70,000, MB": (peak(narrow_and_many), 300),
        "neighborhood 256 x 256 with dropped keys, seconds": (least(image, 1), 1),
        "neighborhood 256 x 256 with dropped keys, MB": (peak(image), 300),
        "all questions but reach to real(...) at 10^6, seconds": (least(all_questions, 1), 1),
        "step with a mask made anew at 1024, to SDPA with it": (ours / sdpa, 1.3),
    }
    print("| what | figure | bar |\n|---|---|---|")
    for what, (figure, bar) in figures.items():
        print(f"| {what} | {figure:.2f} | {bar} |")
    missed = [f"{what}: {figure:.2f}, the bar is {bar}" for what, (figure, bar) in figures.items() if figure > bar]
    finish(dict(figures), missed, options.json)


if __name__ == "__main__":
    main()
