"""Time attention under a mask beside PyTorch's own kernels with the same mask.

Contestants take turns within each round, so that other programs on the machine slow all of them alike. Figures are
medians over rounds. *Efficiency* compares useful work: allowed pairs per second, divided by those of
`scaled_dot_product_attention(..., is_causal=True)` at the same size in the same run. "first" is the first call, which
also binds and lowers the mask.

    python benchmarks/attention.py --json attention.json

On a GPU, `--device cuda` runs benchmarks/attention_cuda.py and takes its options.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from _common import (
    MASKS,
    compiled_flex,
    finish,
    forward_backward,
    in_processes,
    mask_of,
    medians,
    parser_of,
    resident,
)

import maskwork as mw

HEADS, DIM = 8, 64
LENGTH = 8192

#: mask -> least times faster than SDPA with a dense mask (forward, both), least efficiency
BARS: dict[str, tuple[float | None, float | None, float | None]] = {
    "window 512": (10, 11, 0.75),
    "documents of 700": (12, 12, 0.72),
    "window 512 + 4 sinks": (None, None, 0.70),
    "Longformer": (None, None, 0.66),
    "prefix-LM 3000": (None, None, 0.92),
    "causal": (None, None, None),
}
FLEX_BAR, CAUSAL_BAR, SMALL_BAR, DECODE_BAR, MEMORY_BAR, SINKS_BAR = 1.5, 1.05, 1.05, 5.0, 6.0, 1.3


def tensors(batch: int, length: int, **options: Any) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(batch, HEADS, length, DIM, **options) for _ in range(3)]


def long_sequences(rounds: int, names: list[str], with_flex: bool) -> tuple[dict[str, Any], list[str]]:
    """Compare at 8192 tokens with SDPA (dense mask, and is_causal) and with compiled FlexAttention."""
    figures: dict[str, Any] = {}
    missed: list[str] = []
    qkv = tensors(1, LENGTH)
    d_out = torch.randn_like(qkv[0])
    causal_pairs = LENGTH * (LENGTH + 1) // 2
    print(f"\nL={LENGTH}, B=1, H={HEADS}, D={DIM}, float32; milliseconds, forward / forward+backward\n")
    print(
        "| mask | auto takes | first | ours | is_causal | SDPA, dense mask | times faster | efficiency | flex "
        "| flex/ours |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        bound = mask_of(name, LENGTH).bind(LENGTH)
        start = time.perf_counter()
        with torch.no_grad():
            mw.attention(*qkv, bound)
        first = (time.perf_counter() - start) * 1e3
        dense = mw.lower.to_dense(bound)

        def ours(q: Any, k: Any, v: Any, bound: mw.BoundMask = bound) -> Any:
            return mw.attention(q, k, v, bound)

        def plain(q: Any, k: Any, v: Any) -> Any:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        def masked(q: Any, k: Any, v: Any, dense: torch.Tensor = dense) -> Any:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=dense)

        calls = {"ours": ours, "is_causal": plain, "dense": masked}
        forward: dict[str, Callable[[], Any]] = {key: partial(call, *qkv) for key, call in calls.items()}
        if with_flex:
            block_mask = mw.lower.to_block_mask(bound)
            forward["flex"] = lambda bm=block_mask: compiled_flex()(*qkv, block_mask=bm)
        with torch.no_grad():
            f = medians(forward, rounds, few=("dense",))
        backward = {key: partial(forward_backward, call, qkv, d_out) for key, call in calls.items()}
        fb = medians(backward, rounds, few=("dense",))
        pairs = bound.allowed / causal_pairs
        efficiency = [pairs * t["is_causal"] / t["ours"] for t in (f, fb)]
        faster = [t["dense"] / t["ours"] for t in (f, fb)]
        flex = f.get("flex", float("nan"))
        impl = mw.plan(*qkv, bound).impl
        figures[name] = {
            "impl": impl,
            "first": first,
            "forward": f,
            "both": fb,
            "efficiency": efficiency,
            "faster": faster,
        }
        print(
            f"| {name} | {impl} | {first:.0f} | {f['ours']:.0f} / {fb['ours']:.0f} | "
            f"{f['is_causal']:.0f} / {fb['is_causal']:.0f} | {f['dense']:.0f} / {fb['dense']:.0f} | "
            f"{faster[0]:.1f} / {faster[1]:.1f} | {efficiency[0]:.2f} / {efficiency[1]:.2f} | "
            f"{flex:.0f} | {flex / f['ours']:.2f} |",
            flush=True,
        )
        bars = BARS[name]
        for passes, got, least in (("forward", faster[0], bars[0]), ("forward+backward", faster[1], bars[1])):
            if least is not None and not got >= least:
                missed.append(f"{name}: {passes} {got:.1f} times faster than a dense mask, at least {least}")
        for passes, got in zip(("forward", "forward+backward"), efficiency, strict=True):
            if bars[2] is not None and not got >= bars[2]:
                missed.append(f"{name}: {passes} efficiency {got:.2f}, at least {bars[2]}")
            if name == "causal" and not got >= 1 / CAUSAL_BAR:
                missed.append(f"causal: {passes} takes {1 / got:.2f} times is_causal, at most {CAUSAL_BAR}")
        if with_flex and name != "causal" and not flex / f["ours"] >= FLEX_BAR:
            missed.append(f"{name}: {flex / f['ours']:.2f} times faster than FlexAttention, at least {FLEX_BAR}")
    return figures, missed


#: mask -> least efficiency of `--efficiency`
USEFUL: dict[str, float] = {
    "window 600": 0.75,
    "documents of 700": 0.75,
    "window 400 + 4 sinks": 0.70,
    "Longformer": 0.70,
    "prefix-LM 3000": 0.95,
    "causal": 1 / CAUSAL_BAR,
}


def efficiency(rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Print the efficiency at 8192 tokens beside its bar; `is_causal` takes turns with each mask."""
    figures: dict[str, Any] = {}
    missed: list[str] = []
    qkv = tensors(1, LENGTH)
    d_out = torch.randn_like(qkv[0])
    masks = {name: mask_of(name, LENGTH) for name in ("documents of 700", "Longformer", "prefix-LM 3000", "causal")}
    masks["window 600"] = mw.causal() & mw.sliding_window(600)
    masks["window 400 + 4 sinks"] = mw.causal() & (mw.sliding_window(400) | mw.sinks(4))
    print("\n| mask | forward | forward+backward | at least |\n| --- | ---: | ---: | ---: |")
    for name, least in USEFUL.items():
        bound = masks[name].bind(LENGTH)

        def ours(q: Any, k: Any, v: Any, bound: mw.BoundMask = bound) -> Any:
            return mw.attention(q, k, v, bound)

        def plain(q: Any, k: Any, v: Any) -> Any:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        calls = {"ours": ours, "is_causal": plain}
        with torch.no_grad():
            f = medians({key: partial(call, *qkv) for key, call in calls.items()}, rounds)
        fb = medians({key: partial(forward_backward, call, qkv, d_out) for key, call in calls.items()}, rounds)
        pairs = bound.allowed / (LENGTH * (LENGTH + 1) // 2)
        figures[name] = got = [pairs * t["is_causal"] / t["ours"] for t in (f, fb)]
        print(f"| {name} | {got[0]:.2f} | {got[1]:.2f} | {least:.2f} |", flush=True)
        if min(got) < least:
            missed.append(f"{name}: efficiency {min(got):.2f}, at least {least:.2f}")
    return figures, missed


def short_sequences(rounds: int, names: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Compare at 256 and 1024 tokens, batches of 8, with SDPA under a dense mask, which must not be faster."""
    figures: dict[str, Any] = {}
    missed: list[str] = []
    print("\nB=8: our time over that of SDPA with a dense mask, forward / forward+backward\n")
    print("| mask | tokens | auto takes | ratio |\n| --- | ---: | --- | ---: |")
    for length in (256, 1024):
        qkv = tensors(8, length)
        d_out = torch.randn_like(qkv[0])
        for name in names:
            bound = mask_of(name, length).bind(length)
            dense = mw.lower.to_dense(bound)

            def ours(q: Any, k: Any, v: Any, bound: mw.BoundMask = bound) -> Any:
                return mw.attention(q, k, v, bound)

            def masked(q: Any, k: Any, v: Any, dense: torch.Tensor = dense) -> Any:
                return F.scaled_dot_product_attention(q, k, v, attn_mask=dense)

            calls = {"ours": ours, "dense": masked}
            with torch.no_grad():
                f = medians({key: partial(call, *qkv) for key, call in calls.items()}, 2 * rounds)
            backward = {key: partial(forward_backward, call, qkv, d_out) for key, call in calls.items()}
            fb = medians(backward, 2 * rounds)
            ratio = [t["ours"] / t["dense"] for t in (f, fb)]
            impl = mw.plan(*qkv, bound).impl
            figures[f"{name} {length}"] = {"impl": impl, "forward": f, "both": fb, "ratio": ratio}
            print(f"| {name} | {length} | {impl} | {ratio[0]:.2f} / {ratio[1]:.2f} |", flush=True)
            if not max(ratio) <= SMALL_BAR:
                missed.append(f"{name} at {length}: {max(ratio):.2f} times a dense mask's time, at most {SMALL_BAR}")
    return figures, missed


def decode(rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Compare the decoding of one query against 32k cached keys."""
    keys = 32768
    q, k, v = tensors(1, keys)
    q = q[:, :, -1:].contiguous()
    bound = (mw.causal() & (mw.sliding_window(4096) | mw.sinks(4))).bind(1, keys, q_start=keys - 1)
    dense = mw.lower.to_dense(bound)
    with torch.no_grad():
        times = medians(
            {
                "ours": lambda: mw.attention(q, k, v, bound),
                "dense": lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=dense),
            },
            20 * rounds,
        )
    faster = times["dense"] / times["ours"]
    print(
        f"\ndecode, one query against {keys} keys, window 4096 + 4 sinks ({mw.plan(q, k, v, bound).impl}): "
        f"{times['ours']:.2f} ms, SDPA with a mask {times['dense']:.2f} ms, {faster:.1f} times faster"
    )
    missed = [] if faster >= DECODE_BAR else [f"decode: {faster:.1f} times faster, at least {DECODE_BAR}"]
    return {**times, "faster": faster}, missed


def scores(rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Compare calls with softcap, sinks and ALiBi with the plain call under the same mask."""
    length = 2048
    qkv = tensors(1, length)
    d_out = torch.randn_like(qkv[0])
    bound = mask_of("window 512", length).bind(length)
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "sinks": {"sinks": torch.zeros(HEADS, requires_grad=True)},
        "softcap": {"softcap": 50.0},
        "softcap + sinks": {"softcap": 50.0, "sinks": torch.zeros(HEADS, requires_grad=True)},
        "ALiBi": {"bias": mw.alibi(HEADS)},
    }

    def call(q: Any, k: Any, v: Any, name: str) -> Any:
        return mw.attention(q, k, v, bound, impl="tiled", **options[name])

    calls: dict[str, Callable[..., Any]] = {name: partial(call, name=name) for name in options}
    with torch.no_grad():
        f = medians({name: partial(call, *qkv) for name, call in calls.items()}, rounds)
    fb = medians({name: partial(forward_backward, call, qkv, d_out) for name, call in calls.items()}, rounds)
    print(f"\nL={length}, window 512, tiles: time over that of the plain call, forward / forward+backward\n")
    print("| scores | ratio |\n| --- | ---: |")
    for name in options:
        print(f"| {name} | {f[name] / f['plain']:.2f} / {fb[name] / fb['plain']:.2f} |", flush=True)
    worst = max(t["sinks"] / t["plain"] for t in (f, fb))
    missed = [] if worst <= SINKS_BAR else [f"sinks: {worst:.2f} times the plain call's time, at most {SINKS_BAR}"]
    return {"forward": f, "both": fb}, missed


def memory(length: int) -> dict[str, float]:
    """Measure the memory of a long forward and backward pass: its peak, in MB and in sizes of its eight tensors."""

    mask = mw.causal() & mw.sliding_window(1024)
    warm = tensors(1, 2048)
    forward_backward(lambda q, k, v: mw.attention(q, k, v, mask, impl="tiled"), warm, torch.randn_like(warm[0]))
    before = resident("VmRSS")
    qkv = tensors(1, length)
    d_out = torch.randn_like(qkv[0])
    start = time.perf_counter()
    forward_backward(lambda q, k, v: mw.attention(q, k, v, mask), qkv, d_out)
    eight = 8 * qkv[0].nbytes / 2**20
    peak = resident("VmHWM") - before
    return {"seconds": time.perf_counter() - start, "MB": peak, "times": peak / eight}


def main() -> None:
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    chosen, arguments = device.parse_known_args()
    if chosen.device == "cuda":  # another table, with other options
        from attention_cuda import main as main_on_cuda

        sys.argv[1:] = arguments
        main_on_cuda()
        return
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns that each contestant takes")
    parser.add_argument("--masks", nargs="*", default=list(MASKS), choices=MASKS, help="masks of the tables")
    parser.add_argument(
        "--skip", nargs="*", default=[], choices=("flex", "long", "short", "decode", "scores", "memory")
    )
    parser.add_argument("--efficiency", action="store_true", help="only the efficiency at 8192 tokens, with its bars")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(memory(int(options.worker))))
        return

    figures: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version()}
    figures["threads"] = torch.get_num_threads()
    missed: list[str] = []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {options.rounds} rounds")
    if options.efficiency:
        figures["efficiency"], missed = efficiency(options.rounds)
        finish(figures, missed, options.json)
    parts: dict[str, Callable[[], tuple[dict[str, Any], list[str]]]] = {
        "long": lambda: long_sequences(options.rounds, options.masks, "flex" not in options.skip),
        "short": lambda: short_sequences(options.rounds, options.masks),
        "decode": lambda: decode(options.rounds),
        "scores": lambda: scores(options.rounds),
    }
    for name, part in parts.items():
        if name not in options.skip:
            figures[name], failed = part()
            missed += failed
    if "memory" not in options.skip:
        figures["memory"] = m = in_processes(__file__, "65536", 1)
        print(
            f"\nL=65536, window 1024, forward+backward: {m['seconds']:.1f} s, peak {m['MB']:.0f} MB, "
            f"{m['times']:.2f} times q, k, v, the output and their gradients"
        )
        if not m["times"] < MEMORY_BAR:
            missed.append(f"memory: {m['times']:.2f} times, under {MEMORY_BAR}")
    finish(figures, missed, options.json)


if __name__ == "__main__":
    main()
