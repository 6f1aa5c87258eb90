"""The command line, run in this process as a shell would run it, and small run folders."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from maskwork.cli.main import main
from maskwork.models import ModelConfig, Transformer, save_weights
from maskwork.training import RunFolder

RECIPE = """
[model]
vocab_size = 300
layers = 1
width = 16
heads = 2
kv_heads = 1
hidden = 32
context = 32

[train]
steps = 12
batch_rows = 2
learning_rate = 1e-2
warmup_steps = 2
eval_every = 6
save_every = 4
log_every = 2
"""


@dataclass(frozen=True)
class Done:
    """The result of a command, which ran in this process because torch takes seconds to import."""

    returncode: int
    stdout: str
    stderr: str


def maskwork(*arguments: object, cwd: Path, stdin: str = "") -> Done:
    """Run the command line in folder `cwd` and return its exit code and output."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["maskwork", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.setenv("MASKWORK_CACHE", str(cwd / "cache"))
        patch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as exit_:
            main()
    texts = [stream.buffer.getvalue().decode() for stream in (out, err) if stream.flush() is None]
    return Done(int(exit_.value.code or 0), *texts)


def refuses(done: Done, *words: str) -> None:
    """Assert exit code 2 and an error of one line (a caret adds two lines) that holds these words; no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or "^" in done.stderr
    for word in words:
        assert word in done.stderr


def tiny_run(folder: Path, context: int) -> Path:
    """Create a run folder with random weights and return its path."""
    model = {"vocab_size": 20, "layers": 1, "width": 8, "heads": 2, "kv_heads": 1, "hidden": 8, "context": context}
    run = RunFolder.create(folder, {"model": model, "train": {}, "data": {}})
    network = Transformer(ModelConfig.from_dict(model))
    network.init_weights(torch.Generator().manual_seed(0))
    save_weights(network, run.model_path)
    return run.path
