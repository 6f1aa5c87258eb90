"""What does attention cost under a mask on a GPU, beside FlexAttention and SDPA?

bfloat16, one sequence of 4k to 128k tokens. `ours` is what `mw.attention` takes by itself. `flex` is FlexAttention
with the same mask as a `mask_mod` of one's own, through a compiled `create_block_mask`; `flash` is SDPA's flash kernel,
the yardstick: it knows `is_causal` alone and so runs that whatever the mask; `dense` is SDPA with the mask as an array,
left out where that would not fit. Contestants take turns; medians count.

A time is given twice: with the mask made before, and with it made anew in each call (bound and lowered, or through
`create_block_mask`). TFLOP/s count allowed pairs: 4 x head width x heads x pairs forward, 3.5 times as much with the
backward pass (which multiplies the scores a second time). Memory is what forward and backward take at their peak.

    python benchmarks/attention_cuda.py --json attention_cuda.json
    python benchmarks/attention_cuda.py --device cpu --tokens 256 --rounds 1   # does it run? No figure of it counts
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
#: bytes that SDPA needs for each cell of a dense mask: the mask, and its copy that is added to the scores
DENSE_CELL = 3
#: largest difference of outputs that are means of standard normal numbers, rounded to bfloat16
TOLERANCE = 0.03


@dataclass(frozen=True)
class Contestant:
    """`call(q, k, v, made)` with `made = make()`."""

    make: Callable[[], Any]
    call: Callable[..., torch.Tensor]
    #: whether it is given the mask that is asked about, so that its output must be right
    exact: bool = True


class Device:
    """Where it runs: work to wait for, memory to count."""

    def __init__(self, kind: str) -> None:
        self.kind, self.cuda = kind, kind == "cuda"

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def free(self) -> int:
        """Bytes that are still to be had."""
        return torch.cuda.mem_get_info()[0] if self.cuda else 1 << 30

    def peak(self, call: Callable[[], Any]) -> float | None:
        """MB above the start that `call` takes at its peak; None where nobody counts."""
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
    """The same masks as `mask_of`, as a user of FlexAttention writes them."""
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
    """Who takes part; on the CPU, where a smoke run must not wait for compilers, FlexAttention is not compiled."""
    create = _compiled_create() if device.cuda else create_block_mask
    flex = compiled_flex() if device.cuda else flex_attention
    mask_mod = mask_mod_of(name, n, device.kind)

    def flash(q: Any, k: Any, v: Any, made: None) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return {
        "ours": Contestant(lambda: mask_of(name, n).bind(n), mw.attention),
        "flex": Contestant(
            lambda: create(mask_mod, None, None, n, n, device=device.kind),
            lambda q, k, v, made: flex(q, k, v, block_mask=made),
        ),
        "flash": Contestant(lambda: None, flash, exact=name == "causal"),
        "dense": Contestant(
            lambda: mw.lower.to_dense(mask_of(name, n).bind(n), device.kind),
            lambda q, k, v, made: F.scaled_dot_product_attention(q, k, v, attn_mask=made),
        ),
    }


def measure(name: str, qkv: list[torch.Tensor], rounds: int, device: Device) -> dict[str, dict[str, Any]]:
    """Each contestant's figures under one mask, or the reason why it has none."""
    n, d_out = qkv[0].shape[2], torch.randn_like(qkv[0])
    found: dict[str, dict[str, Any]] = {}
    passes: dict[str, dict[str, Callable[[], Any]]] = {"forward": {}, "both": {}}
    wanted: torch.Tensor | None = None
    for who, one in contestants(name, n, device).items():
        row = found[who] = {}
        if who == "dense" and DENSE_CELL * n * n > device.free() / 2:
            row["why not"] = f"its mask would take {DENSE_CELL * n * n / 2**30:.1f} GiB"
            continue
        try:
            made = one.make()
            with torch.no_grad():
                out = one.call(*qkv, made).float()
            if one.exact:
                wanted = out if wanted is None else wanted
                row["difference"] = float((out - wanted).abs().max())
            anew = partial(_made_anew, one)
            passes["forward"] |= {who: partial(one.call, *qkv, made), f"{who}, mask": partial(anew, *qkv)}
        except (RuntimeError, ValueError) as error:  # CannotExpress and running out of memory are such
            row["why not"] = _reason(error)
            continue
        try:
            kept = partial(_with_mask, one.call, made)
            row["MB"] = device.peak(partial(forward_backward, kept, qkv, d_out))
            for key, call in ((who, kept), (f"{who}, mask", anew)):
                passes["both"][key] = partial(forward_backward, call, qkv, d_out)
        except (RuntimeError, ValueError) as error:
            row["why no backward pass"] = _reason(error)
    with torch.no_grad():
        times = {"forward": medians(passes["forward"], rounds, few=("dense", "dense, mask"), wait=device.wait)}
    times["both"] = medians(passes["both"], rounds, few=("dense", "dense, mask"), wait=device.wait)
    for what, figures in times.items():
        for key, milliseconds in figures.items():
            who, _, anew = key.partition(", ")
            found[who][f"{what}, mask made anew" if anew else what] = milliseconds
    return found


def _with_mask(call: Callable[..., torch.Tensor], made: Any, *qkv: torch.Tensor) -> torch.Tensor:
    return call(*qkv, made)


def _made_anew(one: Contestant, *qkv: torch.Tensor) -> torch.Tensor:
    return one.call(*qkv, one.make())


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return "out of memory"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.80}"


def _row(who: str, row: dict[str, Any], flops: float) -> str:
    """One line of the table."""
    if "why not" in row:
        return f"{who} | {row['why not']} | | | | |"
    cells = [who]
    for what in ("forward", "both"):
        there = what in row
        cells.append(
            f"{row[what]:.2f} / {row[what + ', mask made anew']:.2f}" if there else row["why no backward pass"]
        )
    for what, work in (("forward", flops), ("both", 3.5 * flops)):
        cells.append(f"{work / row[what] / 1e9:.1f}" if what in row else "")
    cells.append("" if row.get("MB") is None else f"{row['MB']:.0f}")
    return " | ".join(cells) + " |"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to see that it runs, no more")
    parser.add_argument("--tokens", nargs="*", type=int, default=list(TOKENS))
    parser.add_argument("--masks", nargs="*", default=list(MASKS), choices=MASKS)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--dim", type=int, default=128, help="width of a head")
    parser.add_argument("--rounds", type=int, default=10, help="turns that each contestant takes")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("attention_cuda.py: needs a CUDA device, torch finds none; run it where there is one", file=sys.stderr)
        raise SystemExit(2)

    device = Device(options.device)
    # each mask_mod and each length is compiled anew: more often than dynamo takes for sensible
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1024
    if not device.cuda:
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
    where = torch.cuda.get_device_name() if device.cuda else "CPU"
    figures: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "device": where}
    missed: list[str] = []
    if not device.cuda:
        print("A smoke run on the CPU: no figure below says anything about a GPU.\n")
    print(f"{where}, torch {torch.__version__}, bfloat16, B=1, H={options.heads}, D={options.dim}, medians of "
          f"{options.rounds} rounds; milliseconds: mask made before / made anew")  # fmt: skip
    for n in options.tokens:
        torch.manual_seed(0)
        shape = (1, options.heads, n, options.dim)
        qkv = [torch.randn(shape, device=options.device, dtype=torch.bfloat16) for _ in range(3)]
        print(
            f"\n{n} tokens\n\n| mask | allowed | who | forward | forward+backward | TFLOP/s forward | both | peak MB |"
        )
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        for name in options.masks:
            bound = mask_of(name, n).bind(n)
            rows = figures[f"{name}, {n}"] = measure(name, qkv, options.rounds, device)
            flops = 4.0 * bound.allowed * options.heads * options.dim
            rows["ours"]["impl"] = mw.plan(*qkv, bound).impl
            for who, row in rows.items():
                shown = f"ours ({row['impl']})" if who == "ours" else who if who != "flash" else "flash, is_causal"
                # the yardstick does the work of its own mask
                own = 2.0 * n * (n + 1) * options.heads * options.dim if who == "flash" else flops
                print(f"| {name} | {bound.density:.2%} | {_row(shown, row, own)}", flush=True)
                if not row.get("difference", 0.0) <= TOLERANCE:
                    missed.append(f"{name} at {n}: {who} differs from ours by {row['difference']:.3f}")
            if "why not" in rows["ours"]:
                missed.append(f"{name} at {n}: ours {rows['ours']['why not']}")
    finish(figures, missed, options.json)


if __name__ == "__main__":
    main()
