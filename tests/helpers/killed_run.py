"""One training run of the resume tests, also as a program: `killed_run.py FOLDER KILL_AT`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from maskwork.data import pack
from maskwork.models import ModelConfig, Transformer
from maskwork.objectives import CausalLM
from maskwork.training import RunFolder, TrainConfig, evaluate, train

SHAPE = ModelConfig(vocab_size=13, layers=1, width=8, heads=2, kv_heads=1, hidden=12, context=10)
CONFIG = TrainConfig(
    steps=12, batch_rows=2, learning_rate=1e-2, warmup_steps=3, eval_every=4, save_every=5, log_every=3
)


def main(folder: Path, kill_at: int = 0, resume: bool = False) -> torch.nn.Module:
    """Train; after step `kill_at`, write half a line of metrics and kill this process by SIGKILL."""
    rng = np.random.default_rng(0)
    rows = list(pack([rng.integers(0, 13, size=size).tolist() for size in (10, 7, 3, 5, 5, 9)], 10))
    model = Transformer(SHAPE)
    model.init_weights(torch.Generator().manual_seed(0))
    sections = {"model": SHAPE.to_dict(), "train": CONFIG.to_dict(), "data": {}}
    run = RunFolder.open(folder) if resume else RunFolder.create(folder, sections)

    def on_step(report):
        if report.step == kill_at:
            with run.metrics_path.open("a") as file:
                file.write('{"step": 9, "lo')
            os.kill(os.getpid(), signal.SIGKILL)

    def validate(model):
        return {"nats": evaluate(model, rows, CausalLM(), 4).nats}

    train(model, rows, CausalLM(), CONFIG, run=run, validate=validate, resume=resume, on_step=on_step)
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), kill_at=int(sys.argv[2]))
