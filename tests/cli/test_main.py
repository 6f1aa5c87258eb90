"""The command itself: its help, its exit codes, and streams that are closed or that nobody reads."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.command_line import maskwork, refuses
from maskwork.cli.main import main

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


def test_version_and_help(work: Path):
    assert maskwork("--version", cwd=work).stdout.startswith("maskwork 0.")
    for command in ("demo", "train", "generate", "audit", "show"):
        done = maskwork(command, "--help", cwd=work)
        assert done.returncode == 0
        assert f"Example: maskwork {command}" in done.stdout
        assert "\x1b" not in done.stdout


def test_bad_runs(work: Path):
    refuses(maskwork("generate", "nowhere", "--prompt", "x", cwd=work), "nothing at")
    refuses(maskwork("audit", "text", cwd=work), "config.json")
    refuses(maskwork("train", "--data", "text", "--out", "run", cwd=work), "--resume", "another --out")
    refuses(maskwork("train", "--data", "text", "--out", "text", cwd=work), "empty folder")

    def broken(name: str) -> Path:
        shutil.rmtree(work / name, ignore_errors=True)
        return Path(shutil.copytree(work / "run", work / name))

    weights = broken("cut") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    refuses(maskwork("generate", "cut", "--prompt", "x", cwd=work), "damaged")
    checkpoint = broken("cut2") / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    refuses(maskwork("train", "--out", "cut2", "--resume", cwd=work), "damaged")
    config = broken("newer") / "config.json"
    config.write_text(config.read_text().replace('"maskwork_run": 1', '"maskwork_run": 99'))
    refuses(maskwork("audit", "newer", cwd=work), "format 99")
    (broken("garbled") / "config.json").write_text("{")
    refuses(maskwork("audit", "garbled", cwd=work), "JSON")
    (broken("mute") / "tokenizer.json").write_text("{}")
    refuses(maskwork("generate", "mute", "--prompt", "x", cwd=work), "tokenizer")
    other = work / "other.txt"
    other.write_text("something else entirely\n" * 100)
    refuses(maskwork("train", "--out", "run", "--resume", "--data", "other.txt", cwd=work), "resumed with what it was")
    for option in ("--steps", "--seed"):
        refuses(maskwork("train", "--out", "run", "--resume", option, "9", cwd=work), "--data, --config, --steps and")


def test_bad_options_exit_2(work: Path):
    for arguments in (
        ("generate", "run"),
        ("generate", "run", "--prompt", "x", "--temperature", "-1"),
        ("generate", "run", "--prompt", "x", "--top-p", "2"),
        ("show", "causal", "--length", "0"),
        ("audit", "run", "--length", "40"),
        ("dance",),
    ):
        done = maskwork(*arguments, cwd=work)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
    assert maskwork("show", "causal", "--svg", "no/such/folder/m.svg", cwd=work).returncode == 2
