"""Time exact geometry at a million tokens, geometry that is given, and 8k and 16k beside torch's `create_block_mask`.

Every figure is a median over fresh processes that do the work once, right after the import. The processor's time is
printed beside the wall time, because other programs disturb it less. Memory is the process's peak resident set, less
the memory resident after the import.

    python benchmarks/masks.py --json masks.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import finish, in_processes, parser_of, resident

import maskwork as mw
from maskwork.masks import BoundMask
from maskwork.spans import Spans, single, union

N = 1 << 20
TILES = 512

#: name -> (mask, limit on seconds of all questions together, limit on seconds of blocks(128), limit on MB of both)
CASES: dict[str, tuple[str, float | None, float | None, float | None]] = {
    "a": ("causal & (window 4096 | 4 sinks) & 1000 documents", 0.5, 0.3, 250),
    "b": ("causal & (window 4096 | 4 sinks)", 0.5, 0.3, 250),
    "c": ("within((b), 1000 documents)", 0.5, 0.3, 250),
    "causal": ("causal", None, 1.0, 300),
    "random": ("four random runs a row", None, None, None),
}
#: geometry that is given as such: name -> (what, limit on seconds to build, bind and count)
GIVEN: dict[str, tuple[str, float | None]] = {
    "columns": ("FlashMask's columns of documents, causal, 131,072 keys", 1.0),
    "two columns": ("the same both ways: two columns", 1.0),
    "noisy columns": ("columns that end a window at random, 20 runs a row", 1.0),
    "evicted": ("a window of 64 over keys that are dropped at random, 70,000 keys", None),
    "rectangles": ("256 rectangles at 65,536", 1.0),
    "kinds": ("256 rectangles of all kinds at 65,536", 1.0),
    "spans": ("4 runs a query, 131,072 queries", 1.0),
    "packed": ("1,000 sequences, 131,000 queries, 200,000 keys", 1.0),
    "blocks": ("a layout of 8 heads x 512 x 512 blocks, 65,536", 2.0),
    "edges": ("a graph of 100,000 nodes and 800,000 edges", 2.0),
    "pages": ("64 sequences, 32,768 queries on 256 pages each", None),
}
#: The questions to a bound mask, in the order of their calls.
QUESTIONS = ("bind", "allowed", "last_seen", "empty_rows", "subset_of", "tiles")
#: tokens -> (least ratio of times, least ratio of memory)
RATIOS: dict[int, tuple[float, float | None]] = {8192: (50, None), 16384: (200, 50)}


class _RandomRuns(mw.Mask):
    """Union of four random intervals a row: geometry without any regularity."""

    def _identity(self) -> tuple[Any, ...]:
        return ("four random runs",)

    def _write(self, arrays: str) -> str:
        return "four_random_runs"

    def _spans(self, queries: np.ndarray, kv_len: int) -> Spans:
        rng = np.random.default_rng(int(queries[0, 0, 0]) if queries.size else 0)
        edges = np.sort(rng.integers(0, kv_len + 1, (8, 1, 1, queries.shape[-1])), axis=0)
        parts = [single(edges[i], edges[i + 1], kv_len) for i in range(0, 8, 2)]
        return union(union(parts[0], parts[1]), union(parts[2], parts[3]))


def mask_of(case: str, n: int) -> mw.Mask:
    """Return the mask of a case, for a sequence of n tokens."""
    streaming = mw.causal() & (mw.sliding_window(4096) | mw.sinks(4))
    cuts = np.sort(np.random.default_rng(0).integers(0, n, max(n * 1000 // N, 1) - 1))
    lengths = np.diff([0, *cuts.tolist(), n])
    return {
        "a": streaming & mw.document(lengths),
        "b": streaming,
        "c": mw.within(streaming, lengths),
        "causal": mw.causal(),
        "random": _RandomRuns(),
    }[case]


def geometry(case: str) -> dict[str, float]:
    """Measure seconds of each question at a million tokens, and the peak of memory, in this process."""
    mask = mask_of(case, N)
    edges = np.linspace(0, N, TILES + 1).astype(np.int64)
    before = resident("VmRSS")
    bound = mask.bind(N)
    questions: dict[str, Callable[[], Any]] = {
        "bind": lambda: bound.spans,
        "allowed": lambda: bound.allowed,
        "last_seen": lambda: bound.last_seen(),
        "empty_rows": lambda: bound.empty_rows(),
        "subset_of": lambda: bound.subset_of(mw.causal()),
        "tiles": lambda: bound.tiles(edges, edges),
    }
    processor = time.process_time()
    out = {name: _seconds(call, bound) for name, call in questions.items()}
    out["together"] = sum(out.values())
    out["processor"] = time.process_time() - processor
    out["MB"] = resident("VmHWM") - before
    out["blocks"] = _seconds(lambda: bound.blocks(128), bound)
    out["MB with blocks"] = resident("VmHWM") - before
    return out


def given(case: str) -> dict[str, float]:
    """Measure seconds from the arrays to the number of allowed pairs, in this process."""
    random = np.random.default_rng(0)
    n, m, count = 131_072, 65_536, 256
    lengths = np.diff([0, *np.sort(random.integers(0, n, count - 1)), n])
    ends = np.repeat(lengths.cumsum(), lengths)
    window = np.minimum(np.arange(n) + 1024 + random.integers(0, 64, n), n)
    q_ranges, k_ranges = (np.sort(random.integers(0, m, (count, 2)), axis=1) for _ in range(2))
    kinds, runs = random.integers(0, 4, count), np.sort(random.integers(0, n, (n, 8)), axis=1)
    layout, nodes = random.random((8, 512, 512)) < 0.02, random.integers(0, 100_000, 800_000)
    pages = random.permutation(64 * 256).reshape(64, 256)
    masks: dict[str, Callable[[], BoundMask]] = {
        "columns": lambda: (mw.causal() & mw.from_key_bounds(ends)).bind(n),
        "two columns": lambda: (
            mw.from_key_bounds(ends) & mw.from_key_bounds(end=ends - np.repeat(lengths, lengths))
        ).bind(n),
        "noisy columns": lambda: (mw.causal() & mw.from_key_bounds(window)).bind(n),
        "evicted": lambda: (
            mw.sliding_window(64) & mw.from_key_bounds(np.arange(70_000) + random.integers(1, 70_000, 70_000))
        ).bind(70_000),
        "rectangles": lambda: mw.rectangles(q_ranges, k_ranges).bind(m),
        "kinds": lambda: mw.rectangles(q_ranges, k_ranges, kinds).bind(m),
        "blocks": lambda: mw.blocks(layout, 128).bind(m),
        "edges": lambda: mw.edges(np.repeat(np.arange(100_000), 8), nodes).bind(100_000),
        "spans": lambda: mw.from_spans(runs[:, ::2], runs[:, 1::2]).bind(n),
        "packed": lambda: mw.packed(mw.causal(), [131] * 1000, [200] * 1000).bind(131_000, 200_000, q_start=0),
        "pages": lambda: mw.packed(mw.causal(), [512] * 64, [4096] * 64, pages=pages, page_size=16).bind(
            64 * 512, 64 * 4096, q_start=0
        ),
    }
    started = time.perf_counter()
    allowed = masks[case]().allowed
    return {"seconds": time.perf_counter() - started, "allowed": float(allowed)}


def ours(n: int) -> dict[str, float]:
    """Measure seconds and memory to a `BlockMask`, or, where that lowering is missing, to the block structure."""
    import torch  # noqa: F401  (users of both have torch loaded)
    from torch.nn.attention.flex_attention import BlockMask  # noqa: F401

    lower = getattr(mw.lower, "to_block_mask", None)
    mask = mask_of("a", n)
    before = resident("VmRSS")
    bound = mask.bind(n)
    seconds = _seconds((lambda: lower(bound, 128)) if lower else (lambda: bound.blocks(128)), bound)
    return {"seconds": seconds, "MB": resident("VmHWM") - before, "finished": float(lower is not None)}


def theirs(n: int) -> dict[str, float]:
    """Measure the same for torch's eager `create_block_mask`, which evaluates every pair."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    cuts = np.sort(np.random.default_rng(0).integers(0, n, max(n * 1000 // N, 1) - 1))
    lengths = np.diff([0, *cuts.tolist(), n])
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))

    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q >= k) & ((q - k < 4096) | (k < 4)) & (ids[q] == ids[k])

    before = resident("VmRSS")
    start = time.perf_counter()
    create_block_mask(mask_mod, None, None, n, n, device="cpu", BLOCK_SIZE=128)
    return {"seconds": time.perf_counter() - start, "MB": resident("VmHWM") - before}


def _seconds(call: Callable[[], Any], bound: BoundMask) -> float:
    """Measure the seconds of a call; nan if this version of the package lacks the question."""
    start = time.perf_counter()
    try:
        call()
    except AttributeError:
        return float("nan")
    return time.perf_counter() - start


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=5, help="processes per figure")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES, help="cases at a million tokens")
    parser.add_argument("--skip-torch", action="store_true", help="measure only at a million tokens")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, _, argument = options.worker.partition(":")
        print(
            json.dumps(
                {"geometry": geometry, "given": given}[kind](argument)
                if kind in ("geometry", "given")
                else {"ours": ours, "theirs": theirs}[kind](int(argument))
            )
        )
        return

    figures: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__, "n": N}
    missed: list[str] = []

    print(f"n = {N:,}; seconds, median of {options.runs} processes; MB above the import at the peak\n")
    columns = (*QUESTIONS, "together", "processor", "MB", "blocks", "MB with blocks")
    print(f"| {'mask':<50} | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for case in options.cases:
        title, together, blocks, memory = CASES[case]
        row = in_processes(__file__, f"geometry:{case}", options.runs)
        figures[case] = row
        cells = [f"{row[c]:.0f}" if "MB" in c else f"{row[c]:.3f}" for c in columns]
        print(f"| {title:<50} | " + " | ".join(cells) + " |", flush=True)
        for name, limit in (("together", together), ("blocks", blocks), ("MB with blocks", memory)):
            if limit is not None and not row[name] < limit:
                missed.append(f"{case}: {name} {row[name]:.3f}, limit {limit}")

    print("\ngeometry that is given, from its arrays to the number of allowed pairs\n")
    print("| mask | seconds | allowed |\n| --- | ---: | ---: |")
    for case, (title, limit) in GIVEN.items():
        row = figures[f"given {case}"] = in_processes(__file__, f"given:{case}", options.runs)
        print(f"| {title} | {row['seconds']:.3f} | {row['allowed']:,.0f} |", flush=True)
        if limit is not None and not row["seconds"] < limit:
            missed.append(f"{case}: {row['seconds']:.3f} s, limit {limit}")

    if not options.skip_torch:
        print("\n(a) to a finished BlockMask, ours against torch's eager create_block_mask, in one run\n")
        print("| tokens | ours s | torch s | ratio | ours MB | torch MB | ratio |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for n, (least_time, least_memory) in RATIOS.items():
            we, they = (
                in_processes(__file__, f"ours:{n}", options.runs),
                in_processes(__file__, f"theirs:{n}", min(options.runs, 3)),
            )
            faster, smaller = they["seconds"] / we["seconds"], they["MB"] / max(we["MB"], 1.0)
            figures[f"ratio {n}"] = {"ours": we, "theirs": they, "faster": faster, "smaller": smaller}
            print(
                f"| {n:,} | {we['seconds']:.4f} | {they['seconds']:.2f} | {faster:.0f} | {we['MB']:.1f} | "
                f"{they['MB']:.0f} | {smaller:.0f} |",
                flush=True,
            )
            if not we["finished"]:
                print(f"|  | (to the block structure: mw.lower.to_block_mask is missing) |{' |' * 5}")
            if not faster >= least_time:
                missed.append(f"{n} tokens: {faster:.0f} times faster, at least {least_time:.0f}")
            if least_memory is not None and not smaller >= least_memory:
                missed.append(f"{n} tokens: {smaller:.0f} times smaller, at least {least_memory:.0f}")

    finish(figures, missed, options.json)


if __name__ == "__main__":
    main()
