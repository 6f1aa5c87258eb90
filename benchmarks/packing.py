"""Measure packing: how full the rows are, the rate and the memory; and time the masks of packed rows.

Each process packs 200,000 examples of lognormal lengths (mean 400, sigma 1) from a generator into rows of 2048. Memory
is the process's peak resident set, less the memory resident when packing began; a quarter of the examples must not
need less. The processor's time is judged, because other programs disturb it less than the clock's.

    python benchmarks/packing.py --json packing.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from _common import finish, in_processes, medians, parser_of, resident

import maskwork as mw
from maskwork.data import Example, pack
from maskwork.kernels._tiled.schedule import to_tiles

MAX_LEN, MEAN, SIGMA = 2048, 400, 1.0
STRATEGIES = ("best_fit", "first_fit", "sequential", "pad")
#: Bars for best_fit: the least share of slots used, and the least examples a minute.
LEAST_SHARE, LEAST_RATE = 0.99, 500_000


def documents(number: int) -> Iterator[np.ndarray]:
    """Yield documents, each made on demand, as if read from a disk."""
    rng = np.random.default_rng(0)
    for length in np.ceil(rng.lognormal(np.log(MEAN) - SIGMA**2 / 2, SIGMA, number)).astype(int):
        yield np.arange(length, dtype=np.int32)


def examples(number: int) -> Iterator[Example]:
    """Yield the same documents as examples of `CausalLM`."""
    from maskwork.objectives import CausalLM

    objective = CausalLM()
    return (objective.example(document) for document in documents(number))


def pack_once(case: str) -> dict[str, float]:
    """Measure one way to pack in this process; `case` is `kind:strategy:buffer:number`."""
    kind, strategy, buffer, number = case.split(":")
    source = examples if kind == "examples" else documents
    for _ in pack(source(50), MAX_LEN, overflow="split"):
        pass  # the first call imports and allocates, which no figure should count
    before = resident("VmRSS")
    start, processor = time.perf_counter(), time.process_time()
    rows = pack(source(int(number)), MAX_LEN, strategy, "split", buffer=int(buffer))  # type: ignore[arg-type]
    for _ in rows:
        pass
    wall, processor = time.perf_counter() - start, time.process_time() - processor
    return {
        "share": rows.waste.share,
        "rows": rows.waste.rows,
        "per minute": rows.waste.examples / processor * 60,
        "per minute by the clock": rows.waste.examples / wall * 60,
        "MB": max(resident("VmHWM") - before, 0.0),
    }


def mask_times(rows: int, rounds: int) -> dict[str, float]:
    """Measure milliseconds from packed examples to a batch, to its geometry, and to the inputs of two backends."""
    from maskwork.objectives import CausalLM, collate

    rng = np.random.default_rng(0)
    lengths = [*map(int, np.diff([0, *sorted(rng.choice(np.arange(1, MAX_LEN), 4, replace=False)), MAX_LEN]))]
    base = [[CausalLM().example(np.arange(length)) for length in lengths] for _ in range(rows)]

    def with_own_mask(example: Example) -> Example:
        mask = mw.recipes.prefix_lm(int(rng.integers(1, len(example) + 1)))
        return Example(example.tokens, example.targets, example.weights, mask, example.reasons)

    shared_mask = [mw.data.PackedRow.of(row, MAX_LEN) for row in base]
    own_masks = [mw.data.PackedRow.of([with_own_mask(example) for example in row], MAX_LEN) for row in base]

    def run(packed_rows: list[mw.data.PackedRow], last: str) -> Any:
        batch = collate(packed_rows)
        if last == "collate":
            return batch
        bound = batch.mask.bind(MAX_LEN, batch=len(packed_rows))
        if last == "geometry":
            return bound.spans
        return mw.lower.to_block_mask(bound) if last == "BlockMask" else to_tiles(bound)

    return medians(
        {
            f"{name}: {last}": partial(run, packed_rows, last)
            for name, packed_rows in (("one mask", shared_mask), ("each its own", own_masks))
            for last in ("collate", "geometry", "tiles", "BlockMask")
        },
        rounds,
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--examples", type=int, default=200_000)
    parser.add_argument(
        "--buffers", type=int, nargs="*", default=[64, 128, 256, 512, 1024, 2048], help="buffers of best_fit"
    )
    parser.add_argument("--rows", type=int, default=32, help="rows of the batch whose masks are timed")
    parser.add_argument("--runs", type=int, default=3, help="processes per figure, turns of masks")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(pack_once(options.worker)))
        return

    figures: dict[str, Any] = {"examples": options.examples, "max_len": MAX_LEN}
    missed: list[str] = []
    columns = ("kind", "strategy", "buffer", "examples", "slots used", "examples a minute", "by the clock", "MB")
    print("| " + " | ".join(columns) + " |")
    print("| --- | --- |" + " ---: |" * (len(columns) - 2))
    few = options.examples // 4
    cases = [("tokens", "best_fit", buffer, options.examples) for buffer in options.buffers if buffer != 512]
    cases += [("tokens", "best_fit", 512, few)]
    cases += [("tokens", strategy, 512, options.examples) for strategy in STRATEGIES]
    cases += [("examples", "best_fit", 512, few), ("examples", "best_fit", 512, options.examples)]
    for kind, strategy, buffer, number in cases:
        name = f"{kind}:{strategy}:{buffer}:{number}"
        row = figures[name] = in_processes(__file__, name, options.runs)
        print(
            f"| {kind} | {strategy} | {buffer} | {number:,} | {row['share']:.2%} | {row['per minute']:,.0f} | "
            f"{row['per minute by the clock']:,.0f} | {row['MB']:.1f} |",
            flush=True,
        )
        if (strategy, buffer, number) != ("best_fit", 512, options.examples):
            continue
        if not row["share"] > LEAST_SHARE:
            missed.append(f"{name}: {row['share']:.2%} of slots used, more than {LEAST_SHARE:.0%}")
        if not row["per minute"] > LEAST_RATE:
            missed.append(f"{name}: {row['per minute']:,.0f} examples a minute, more than {LEAST_RATE:,}")
        fewer = figures[f"{kind}:{strategy}:{buffer}:{few}"]["MB"]
        if not row["MB"] < fewer + 4:
            missed.append(f"{name}: {row['MB']:.1f} MB, {fewer:.1f} MB for a quarter of the examples")

    print(f"\n{options.rows} rows of {MAX_LEN}, 5 documents each: ms to a batch, and from the batch on\n")
    times = figures["masks"] = mask_times(options.rows, options.runs)
    print("| masks | collate | geometry | tiles | BlockMask |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ("one mask", "each its own"):
        cells = (f"{times[f'{name}: {last}']:.1f}" for last in ("collate", "geometry", "tiles", "BlockMask"))
        print(f"| {name} | " + " | ".join(cells) + " |")
    finish(figures, missed, options.json)


if __name__ == "__main__":
    main()
