"""Count the compilations of FlexAttention for 50 masks, through `mw.attention` and through a compiled module.

    python benchmarks/masks_flex.py [--json FILE]

The benchmark prints the number of masks and of compilations for each class of shapes, and the largest difference from
the reference. It runs on the CPU, forward only, since FlexAttention has no backward pass there.
A C++ compiler is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch._dynamo.utils import counters

import maskwork as mw

LENGTH = 300
BATCH = 2


def fifty_masks() -> Iterator[mw.Mask]:
    """Yield masks of many kinds and parameters: one to eight runs a row, alike in the batch or not."""
    g = np.random.default_rng(0)
    yield from (mw.causal(), mw.full(), mw.empty(), mw.causal() - mw.sinks(5), ~mw.causal())
    yield from (mw.causal() & mw.sliding_window(w) for w in (1, 40, 41, 128, 299))
    yield from (mw.prefix(n) | mw.causal() for n in (7, 100, 128))
    yield from (mw.padding([n]) for n in (1, 130, 256))
    for _ in range(6):
        lengths = np.diff([0, *np.sort(g.integers(0, LENGTH, 4)), LENGTH]).tolist()
        yield mw.document(lengths)
        yield mw.within(mw.causal() & mw.sliding_window(int(g.integers(1, 60))), lengths)
    for _ in range(6):
        yield mw.causal() & (mw.sliding_window(int(g.integers(1, 60))) | mw.sinks(int(g.integers(1, 9))))
        yield mw.full() - (mw.causal() & mw.sliding_window(int(g.integers(1, 60))))
    for _ in range(4):
        a, b, c = np.sort(g.choice(np.arange(1, LENGTH), 3, replace=False)).tolist()
        yield mw.causal() - (mw.prefix(b) - mw.prefix(a)) - (mw.prefix(c + 1) - mw.prefix(c))
    for size in (40, 50):
        yield mw.document(ids=np.arange(LENGTH) // size % 2)
    for _ in range(4):
        yield mw.causal() & mw.padding(g.integers(1, LENGTH, BATCH).tolist())


class Layer(torch.nn.Module):
    """A layer of attention with grouped queries, whose mask is an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(32, 64), torch.nn.Linear(32, 32)

    def forward(self, x: torch.Tensor, mask: mw.BoundMask, impl: str = "flex") -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (-1, 8)).transpose(1, 2) for part in self.qkv(x).split([32, 16, 16], -1))
        return self.out(mw.attention(q, k, v, mask, impl=impl).transpose(1, 2).flatten(2))


def compilations() -> int:
    """Count the graphs that dynamo has handed to a compiler in this process."""
    return counters["stats"]["unique_graphs"]


def measure() -> dict[str, object]:
    """Run every mask through `mw.attention`, then the module, and return the counts of each class of shapes."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    layer = Layer().eval()
    module = torch.compile(layer)
    x = torch.randn(BATCH, LENGTH, 32)
    q, k, v = torch.randn(BATCH, 4, LENGTH, 8), torch.randn(BATCH, 2, LENGTH, 8), torch.randn(BATCH, 2, LENGTH, 8)
    classes: dict[tuple[int, int], dict[str, float]] = {}
    masks, worst = list(fifty_masks()), 0.0
    with torch.no_grad():
        for mask in masks:
            bound = mask.bind(LENGTH, batch=BATCH)
            runs, batch = 1 << (bound.spans.runs - 1).bit_length(), bound.shape[0]
            row = classes.setdefault((runs, batch), {"masks": 0, "attention": 0, "module": 0, "seconds": 0.0})
            before, start = compilations(), time.perf_counter()
            out = mw.attention(q, k, v, bound, impl="flex")
            after_attention = compilations()
            layered = module(x, bound)
            row["masks"] += 1
            row["attention"] += after_attention - before
            row["module"] += compilations() - after_attention
            row["seconds"] += time.perf_counter() - start
            worst = max(worst, float((out - mw.attention(q, k, v, bound, impl="reference")).abs().max()))
            worst = max(worst, float((layered - layer(x, bound, "reference")).abs().max()))
    return {
        "torch": torch.__version__,
        "masks": len(set(masks)),
        "worst_difference": worst,
        "classes": [{"runs": runs, "batch": batch, **row} for (runs, batch), row in classes.items()],
    }


def main() -> None:
    from _common import finish, parser_of  # not at the top: the tests load this file by its path and call `measure`

    arguments = parser_of(__doc__).parse_args()
    result = measure()
    print(f"torch {result['torch']}: {result['masks']} masks, {LENGTH} tokens, differences from the reference up to "
          f"{result['worst_difference']:.1e}")  # fmt: skip
    print("| runs a row, padded | mask differs in the batch | masks | compilations: attention | module | seconds |")
    print("| ---: | :---: | ---: | ---: | ---: | ---: |")
    for row in result["classes"]:
        differs = "yes" if row["batch"] > 1 else "no"
        print(f"| {row['runs']} | {differs} | {row['masks']} | {row['attention']} | {row['module']} | "
              f"{row['seconds']:.1f} |")  # fmt: skip
    finish(result, None, arguments.json)


if __name__ == "__main__":
    main()
