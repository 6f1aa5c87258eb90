"""Time attention under a mask on a GPU, beside FlexAttention and SDPA.

Tensors are bfloat16, one sequence of 4k to 128k tokens. `ours` is `mw.attention` with `impl="auto"`. `flex` is
FlexAttention with the same mask as a handwritten `mask_mod`, through a compiled `create_block_mask`. `flash` is SDPA's
flash kernel, the yardstick: the kernel supports `is_causal` alone and runs with it under every mask. `dense` is SDPA
with the mask as an array, left out where the array would not fit. Contestants take turns; figures are medians.

Each time is given twice: with the mask made before the call, and with a new mask in each call (bound and lowered, or
through `create_block_mask`). TFLOP/s count allowed pairs: 4 x head width x heads x pairs forward, 3.5 times as much
with the backward pass (which multiplies the scores a second time). Memory is the peak of forward and backward.

    python benchmarks/attention_cuda.py --json attention_cuda.json
    python benchmarks/attention_cuda.py --device cpu --tokens 256 --rounds 1   # smoke test: its figures mean nothing
"""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from _common import MASKS, compiled_flex, documents, finish, forward_backward, mask_of, medians, parser_of, prefix
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import maskwork as mw

TOKENS = (4096, 8192, 16384, 32768, 65536, 131072)
#: bytes that SDPA needs for each cell of a dense mask: the mask, and its copy that SDPA adds to the scores
DENSE_CELL = 3
#: largest difference of outputs that are means of standard normal numbers, rounded to bfloat16
TOLERANCE = 0.03


@dataclass(frozen=True)
class Contestant:
    """An implementation of attention: `call(q, k, v, mask)` with `mask = make()`.

    Attributes:
        exact: the implementation computes the mask of the table, so that its output must equal ours.
    """

    make: Callable[[], Any]
    call: Callable[..., torch.Tensor]
    exact: bool = True


class Device:
    """The device of a run: its pending work and its memory."""

    def __init__(self, kind: str) -> None:
        self.kind, self.cuda = kind, kind == "cuda"

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def free(self) -> int:
        """Return the free bytes of the device."""
        return torch.cuda.mem_get_info()[0] if self.cuda else 1 << 30

    def peak(self, call: Callable[[], Any]) -> float | None:
        """Measure the peak of `call` in MB above the start; None on the CPU, where torch does not count memory."""
        if not self.cuda:
            call()
            return None
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        self.wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**20


def mask_mod_of(name: str, n: int, device: str) -> Callable[..., torch.Tensor]:
    """Return the mask of `mask_of` as a user of FlexAttention writes it."""
    lengths, first = documents(n), prefix(n)
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(device)
    return {
        "window 512": lambda b, h, q, k: (q >= k) & (q - k < 512),
        "documents of 700": lambda b, h, q, k: (q >= k) & (ids[q] == ids[k]),
        "window 512 + 4 sinks": lambda b, h, q, k: (q >= k) & ((q - k < 512) | (k < 4)),
        "Longformer": lambda b, h, q, k: ((q - k).abs() <= 256) | (q < 16) | (k < 16),
        "prefix-LM 3000": lambda b, h, q, k: (q >= k) | (k < first),
        "causal": lambda b, h, q, k: q >= k,
    }[name]


@cache
def _compiled_create() -> Callable[..., Any]:
    return torch.compile(create_block_mask)


def contestants(name: str, n: int, device: Device) -> dict[str, Contestant]:
    """Return the contestants; on the CPU FlexAttention is not compiled, so that a smoke run need not wait."""
    create = _compiled_create() if device.cuda else create_block_mask
    flex = compiled_flex() if device.cuda else flex_attention
    mask_mod = mask_mod_of(name, n, device.kind)

    def flash(q: Any, k: Any, v: Any, mask: None) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return {
        "ours": Contestant(lambda: mask_of(name, n).bind(n), mw.attention),
        "flex": Contestant(
            lambda: create(mask_mod, None, None, n, n, device=device.kind),
            lambda q, k, v, mask: flex(q, k, v, block_mask=mask),
        ),
        "flash": Contestant(lambda: None, flash, exact=name == "causal"),
        "dense": Contestant(
            lambda: mw.lower.to_dense(mask_of(name, n).bind(n), device.kind),
            lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        ),
    }


def measure(name: str, qkv: list[torch.Tensor], rounds: int, device: Device) -> dict[str, dict[str, Any]]:
    """Measure every contestant under one mask: its figures, or the reason why it has none."""
    n, d_out = qkv[0].shape[2], torch.randn_like(qkv[0])
    rows: dict[str, dict[str, Any]] = {}
    passes: dict[str, dict[str, Callable[[], Any]]] = {"forward": {}, "both": {}}
    expected: torch.Tensor | None = None
    for label, contestant in contestants(name, n, device).items():
        row = rows[label] = {}
        if label == "dense" and DENSE_CELL * n * n > device.free() / 2:
            row["why not"] = f"its mask would take {DENSE_CELL * n * n / 2**30:.1f} GiB"
            continue
        try:
            mask = contestant.make()
            with torch.no_grad():
                out = contestant.call(*qkv, mask).float()
            if contestant.exact:
                expected = out if expected is None else expected
                row["difference"] = float((out - expected).abs().max())
            with_new_mask = partial(_call_with_new_mask, contestant)
            passes["forward"] |= {
                label: partial(contestant.call, *qkv, mask),
                f"{label}, mask": partial(with_new_mask, *qkv),
            }
        except (RuntimeError, ValueError) as error:  # CannotExpress, out of memory
            row["why not"] = _reason(error)
            continue
        try:
            with_mask = partial(_call_with_mask, contestant.call, mask)
            row["MB"] = device.peak(partial(forward_backward, with_mask, qkv, d_out))
            for key, call in ((label, with_mask), (f"{label}, mask", with_new_mask)):
                passes["both"][key] = partial(forward_backward, call, qkv, d_out)
        except (RuntimeError, ValueError) as error:
            row["why no backward pass"] = _reason(error)
    with torch.no_grad():
        times = {"forward": medians(passes["forward"], rounds, few=("dense", "dense, mask"), wait=device.wait)}
    times["both"] = medians(passes["both"], rounds, few=("dense", "dense, mask"), wait=device.wait)
    for passed, figures in times.items():
        for key, milliseconds in figures.items():
            label, _, new_mask = key.partition(", ")
            rows[label][f"{passed}, mask made anew" if new_mask else passed] = milliseconds
    return rows


def _call_with_mask(call: Callable[..., torch.Tensor], mask: Any, *qkv: torch.Tensor) -> torch.Tensor:
    return call(*qkv, mask)


def _call_with_new_mask(contestant: Contestant, *qkv: torch.Tensor) -> torch.Tensor:
    return contestant.call(*qkv, contestant.make())


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return "out of memory"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.80}"


def _row(label: str, row: dict[str, Any], flops: float) -> str:
    """Format one line of the table."""
    if "why not" in row:
        return f"{label} | {row['why not']} | | | | |"
    cells = [label]
    for key in ("forward", "both"):
        measured = key in row
        cells.append(
            f"{row[key]:.2f} / {row[key + ', mask made anew']:.2f}" if measured else row["why no backward pass"]
        )
    for key, work in (("forward", flops), ("both", 3.5 * flops)):
        cells.append(f"{work / row[key] / 1e9:.1f}" if key in row else "")
    cells.append("" if row.get("MB") is None else f"{row['MB']:.0f}")
    return " | ".join(cells) + " |"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a smoke test")
    parser.add_argument("--tokens", nargs="*", type=int, default=list(TOKENS))
    parser.add_argument("--masks", nargs="*", default=list(MASKS), choices=MASKS)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--dim", type=int, default=128, help="width of a head")
    parser.add_argument("--rounds", type=int, default=10, help="turns that each contestant takes")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "attention_cuda.py: this benchmark needs a CUDA device, got none; run it on a machine with a GPU",
            file=sys.stderr,
        )
        raise SystemExit(2)

    device = Device(options.device)
    # each mask_mod and each length is compiled anew, which is more often than dynamo's default limit
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1024
    if not device.cuda:
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
    hardware = torch.cuda.get_device_name() if device.cuda else "CPU"
    figures: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "device": hardware}
    missed: list[str] = []
    if not device.cuda:
        print("A smoke run on the CPU: no figure below says anything about a GPU.\n")
    print(f"{hardware}, torch {torch.__version__}, bfloat16, B=1, H={options.heads}, D={options.dim}, medians of "
          f"{options.rounds} rounds; milliseconds: mask made before / made anew")  # fmt: skip
    for n in options.tokens:
        torch.manual_seed(0)
        shape = (1, options.heads, n, options.dim)
        qkv = [torch.randn(shape, device=options.device, dtype=torch.bfloat16) for _ in range(3)]
        print(f"\n{n} tokens\n")
        print("| mask | allowed | contestant | forward | forward+backward | TFLOP/s forward | both | peak MB |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        for name in options.masks:
            bound = mask_of(name, n).bind(n)
            rows = figures[f"{name}, {n}"] = measure(name, qkv, options.rounds, device)
            flops = 4.0 * bound.allowed * options.heads * options.dim
            rows["ours"]["impl"] = mw.plan(*qkv, bound).impl
            titles = {"ours": f"ours ({rows['ours']['impl']})", "flash": "flash, is_causal"}
            for label, row in rows.items():
                # flash computes every causal pair, whatever the mask
                work = 2.0 * n * (n + 1) * options.heads * options.dim if label == "flash" else flops
                print(f"| {name} | {bound.density:.2%} | {_row(titles.get(label, label), row, work)}", flush=True)
                if not row.get("difference", 0.0) <= TOLERANCE:
                    missed.append(f"{name} at {n}: {label} differs from ours by {row['difference']:.3f}")
            if "why not" in rows["ours"]:
                missed.append(f"{name} at {n}: ours {rows['ours']['why not']}")
    finish(figures, missed, options.json)


if __name__ == "__main__":
    main()
