"""How long does an audit take? A GPT-2-sized random model and a tiny one, 64 tokens, every check."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import maskwork as mw

CHECKS = ("mask", "padding", "packing", "cache", "batch", "determinism")
SIZES = {
    "tiny (2 layers, width 32)": {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 100, "n_positions": 128},
    "GPT-2 (12 layers, 12 heads, width 768)": {},
}


def timed(model: torch.nn.Module, ids: torch.Tensor, checks: tuple[str, ...], label: str) -> dict[str, float]:
    """Measure an audit in seconds by the clock and of the processor: on a shared machine only the latter means much."""
    wall, cpu = time.perf_counter(), time.process_time()
    report = mw.audit(model, ids, mw.causal(), checks=checks)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{label} {wall:6.2f} s  {cpu:6.2f} s of CPU  {', '.join(report.checks.values())}", flush=True)
    return {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}


def main() -> None:
    """Print a table of seconds per check, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    results: dict[str, dict[str, object]] = {}
    print(f"{torch.get_num_threads()} threads, {arguments.tokens} tokens\n")
    for name, sizes in SIZES.items():
        if arguments.only not in name:
            continue
        torch.manual_seed(0)
        config = GPT2Config(**{**sizes, "bos_token_id": 0, "eos_token_id": 0})
        model = GPT2LMHeadModel(config).eval()
        ids = torch.randint(1, config.vocab_size, (arguments.tokens,))
        mw.audit(model, ids[:8], checks=["batch"])  # what is loaded at the first call is not what is measured
        row: dict[str, object] = {}
        for check in CHECKS:
            row[check] = timed(model, ids, (check,), f"{name:42} {check:12}")
        row["all at once"] = timed(model, ids, CHECKS, f"{name:42} {'all at once':12}")
        results[name] = row
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
