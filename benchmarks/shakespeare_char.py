"""Train at nanoGPT's published CPU setting, on character-level Shakespeare, and compare the validation loss.

nanoGPT's README trains 4 layers of 4 heads and width 128 on blocks of 64 characters, 12 at a time, for 2000 steps
without dropout, and reports a validation loss of 1.88 nats per character. This benchmark takes the same sizes, steps,
batch and split (first 90 % train, last 10 % validation), and this package's model, objective and loop. The model is
LLaMA-like, so its feed-forward is sized to the same number of weights: 3 matrices of 128 x 341 against 2 of 128 x 512.

    python benchmarks/shakespeare_char.py --data tinyshakespeare.txt
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from maskwork.data import PackedRow
from maskwork.models import ModelConfig, Transformer
from maskwork.objectives import CausalLM
from maskwork.training import StepReport, TrainConfig, evaluate, train

PUBLISHED = 1.88
CONTEXT, BATCH, STEPS = 64, 12, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the text, one file")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()

    text = options.data.read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    index = {character: i for i, character in enumerate(alphabet)}
    tokens = np.array([index[character] for character in text], dtype=np.int64)
    cut = int(len(tokens) * 0.9)

    # A row of 65 characters predicts 64. Training rows start at random places, as nanoGPT draws them. Validation takes
    # every block, end to end, so that the figure has no sampling noise: each character but the first is scored once.
    starts = np.random.default_rng(options.seed).integers(0, cut - CONTEXT - 1, options.steps * BATCH)
    rows = [_row(tokens[start : start + CONTEXT + 1]) for start in starts]
    held_out = [_row(tokens[i : i + CONTEXT + 1]) for i in range(cut, len(tokens) - CONTEXT, CONTEXT)]

    config = ModelConfig(
        vocab_size=len(alphabet), layers=4, width=128, heads=4, kv_heads=4, hidden=341, context=CONTEXT + 1
    )
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(options.seed))
    schedule = TrainConfig(
        steps=options.steps,
        batch_rows=BATCH,
        learning_rate=options.learning_rate,
        warmup_steps=min(100, options.steps),
        betas=(0.9, 0.99),
        seed=options.seed,
        eval_every=0,
        save_every=0,
    )
    ends: list[float] = [time.perf_counter()]

    def on_step(report: StepReport) -> None:
        ends.append(time.perf_counter())
        if report.step % 250 == 0:
            print(
                f"step {report.step}/{report.steps}  loss {report.loss:.3f}  {report.tokens_per_second:,.0f} tokens/s"
            )

    result = train(model, rows, CausalLM(), schedule, on_step=on_step)
    loss = evaluate(model, held_out, CausalLM(), batch_rows=64).nats_per_target
    step_ms = statistics.median(np.diff(ends)) * 1000
    figures = {
        "validation_nats_per_character": loss,
        "published": PUBLISHED,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": options.steps,
        "seconds": result.seconds,
        "median_ms_per_step": step_ms,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    print(
        f"validation loss {loss:.4f} nats per character over {cut:,}..{len(tokens):,} (nanoGPT publishes {PUBLISHED})"
    )
    print(f"{figures['parameters']:,} parameters, {result.seconds:.0f} s, median {step_ms:.1f} ms per step")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    raise SystemExit(0 if loss <= PUBLISHED or options.steps != STEPS else 1)


def _row(tokens: np.ndarray) -> PackedRow:
    return PackedRow(tokens, (len(tokens),), 0)


if __name__ == "__main__":
    main()
