"""Streams that are closed, pipes that nobody reads, and what strange metrics or a Python without lzma do."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from maskwork.cli import _fit
from maskwork.cli._loss_curve import draw_loss_curve
from maskwork.cli.main import main
from maskwork.errors import ArgumentError
from maskwork.models import ModelConfig, Transformer, save_weights
from maskwork.training import DEFAULT_RECIPE, RunFolder

needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`maskwork` in a shell; `$?` of a command in a pipe goes to standard error."""
    line = line.replace("maskwork", f"{sys.executable} -m maskwork")
    return subprocess.run(["sh", "-c", line], cwd=cwd, capture_output=True, text=True, check=False)


@needs_sh
def test_closed_streams(tmp_path: Path):
    done = shell("maskwork show causal >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = shell("maskwork show causl 2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@needs_sh
@pytest.mark.parametrize("command", ["show causal -n 64", "--help"])
def test_a_broken_pipe_is_neither_an_error_nor_a_failed_audit(command: str, tmp_path: Path):
    # A reader that closes at once, before the first byte comes.
    done = shell(f"{{ maskwork {command}; echo $? >&2; }} | exec 0<&-", tmp_path)
    assert done.stderr == "141\n"


def test_a_broken_pipe_inside_a_command_is_141(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def breaks(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("maskwork.masks.BoundMask.show", breaks)
    monkeypatch.setattr(sys, "argv", ["maskwork", "show", "causal"])
    monkeypatch.setattr(sys, "__stdout__", None)
    monkeypatch.setattr(sys, "__stderr__", None)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 141


def tiny_run(folder: Path, context: int) -> Path:
    model = {"vocab_size": 20, "layers": 1, "width": 8, "heads": 2, "kv_heads": 1, "hidden": 8, "context": context}
    run = RunFolder.create(folder, {"model": model, "train": {}, "data": {}})
    made = Transformer(ModelConfig.from_dict(model))
    made.init_weights(torch.Generator().manual_seed(0))
    save_weights(made, run.model_path)
    return run.path


def test_an_audit_is_as_long_as_the_context_allows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from maskwork.cli import audit

    audit.command(str(tiny_run(tmp_path / "short", 12)))
    assert "clean" in capsys.readouterr().out
    with pytest.raises(ArgumentError, match="sequence of 4 tokens, this model's context is 3"):
        audit.command(str(tiny_run(tmp_path / "tiny", 3)))


def test_a_prompt_from_a_closed_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from maskwork.cli import generate

    class Vocabulary:
        vocab_size = 20

    monkeypatch.setattr(RunFolder, "load_tokenizer", lambda self: Vocabulary())
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ArgumentError, match="standard input, which is closed"):
        generate.command(tiny_run(tmp_path / "run", 12), prompt="-")


def test_a_loss_curve_without_lzma_and_with_strange_metrics(tmp_path: Path):
    metrics = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": "low"},
        {"step": 2, "validation": 5},
        {"step": 2, "validation": {"bits_per_byte": None}},
    ]
    draw_loss_curve(Console(), metrics, {"maskwork": 2.0, "zlib -9": 3.0}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 0


@pytest.mark.parametrize(("saved", "words"), [(True, "the run is saved, go on"), (False, "nothing was saved yet")])
def test_an_interruption_says_what_is_true(
    saved: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = RunFolder.create(tmp_path / "run", {"model": {}, "train": {}, "data": {}})
    if saved:
        run.checkpoint_path.write_bytes(b"")

    class Interrupted:
        recipe = DEFAULT_RECIPE
        check = new_model = fit = lambda self, *_, **__: None

    class Tokenizer:
        save = staticmethod(lambda path: None)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    experiment = Interrupted()
    experiment.tokenizer = Tokenizer()  # type: ignore[attr-defined]
    experiment.new_model = lambda: torch.nn.Linear(1, 1)  # type: ignore[method-assign]
    experiment.fit = stop  # type: ignore[method-assign]
    monkeypatch.setattr(_fit, "write_atomic", lambda *_: None)
    monkeypatch.setattr(_fit, "_mask_of_one_row", lambda _: type("Drawn", (), {"svg": lambda self: ""})())
    with pytest.raises(Exception) as left:
        _fit.fit(Console(width=200), experiment, run, resume=False)  # type: ignore[arg-type]
    assert getattr(left.value, "exit_code", None) == 130
    assert words in capsys.readouterr().out
