"""`maskwork train` as a person types it: its run folder, its log, its seeds, its interruptions, and bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file

from helpers.command_line import RECIPE, maskwork, refuses

#: For the tests that need a process of their own, to be killed.
ENVIRONMENT = {**os.environ, "NO_COLOR": "", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning:maskwork"}


def test_train_leaves_a_whole_run_folder(work: Path):
    names = {path.name for path in (work / "run").iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "metrics.jsonl", "mask.svg", "loss.png"}
    config = json.loads((work / "run" / "config.json").read_text())
    assert config["model"]["context"] == 32
    final = json.loads((work / "run" / "metrics.jsonl").read_text().splitlines()[-1])["final"]
    assert 0 < final["bits_per_byte"] < 8


def test_a_log_has_no_colour_codes_and_no_bars(work: Path):
    done = maskwork("train", "--data", "text", "--config", "recipe.toml", "--out", "logged", cwd=work)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout
    assert "step 12/12" in done.stdout
    assert "zlib -9" in done.stdout


def test_the_same_seed_gives_the_same_weights_and_another_one_others(work: Path):
    maskwork("train", "--data", "text", "--config", "recipe.toml", "--out", "again", cwd=work)
    maskwork("train", "--data", "text", "--config", "recipe.toml", "--out", "other", "--seed", "7", cwd=work)
    first, again, other = ((work / name / "model.safetensors").read_bytes() for name in ("run", "again", "other"))
    assert first == again
    assert first != other


def test_a_killed_run_resumes_to_the_same_end(work: Path):
    """SIGKILL at some moment after the first checkpoint: whatever was under way, the end is the same."""
    recipe = work / "long.toml"
    recipe.write_text(RECIPE.replace("steps = 12", "steps = 160").replace("log_every = 2", "log_every = 16"))
    arguments = ("train", "--data", "text", "--config", recipe.name)
    assert maskwork(*arguments, "--out", "whole", cwd=work).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "maskwork", *arguments, "--out", "killed"],
        cwd=work,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (work / "killed" / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work / "killed" / "model.safetensors").exists() or process.returncode == -signal.SIGKILL
    done = maskwork("train", "--out", "killed", "--resume", cwd=work)
    assert done.returncode == 0, done.stderr
    a, b = (load_file(work / name / "model.safetensors") for name in ("whole", "killed"))
    assert all((a[name] == b[name]).all() for name in a)
    curves = []
    for name in ("whole", "killed"):
        lines = map(json.loads, (work / name / "metrics.jsonl").read_text().splitlines())
        curves.append([{key: value for key, value in line.items() if key != "timing"} for line in lines])
    assert curves[0] == curves[1]


def test_ctrl_c_saves_and_the_run_goes_on(work: Path):
    recipe = work / "endless.toml"
    recipe.write_text(RECIPE.replace("steps = 12", "steps = 100000").replace("save_every = 4", "save_every = 50000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "maskwork", "train", "--data", "text", "--config", recipe.name, "--out", "stopped"],
        cwd=work,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (work / "stopped" / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, out + error
    assert "--resume" in out
    assert "Traceback" not in error
    assert maskwork("audit", "stopped", "--length", "16", cwd=work).returncode in (0, 1)  # weights can be read
    assert maskwork("generate", "stopped", "--prompt", "line", "--max-tokens", "2", cwd=work).returncode == 0


def test_bad_text_to_train_on(work: Path):
    (work / "empty.txt").write_text("")
    (work / "binary.bin").write_bytes(bytes(range(256)))
    (work / "short.txt").write_text("hi\n")
    (work / "hollow").mkdir(exist_ok=True)
    for data, words in (
        ("missing", ("nothing at",)),
        ("empty.txt", ("empty file",)),
        ("binary.bin", ("UTF-8",)),
        ("short.txt", ("at least one block of 32 tokens",)),
        ("hollow", ("non-empty text file",)),
    ):
        done = maskwork("train", "--data", data, "--config", "recipe.toml", "--out", "never", cwd=work)
        refuses(done, *words)
        assert not (work / "never").exists(), "nothing is left half made"
    refuses(maskwork("train", "--out", "never", cwd=work), "--data")
    refuses(maskwork("train", "--data", "", "--out", "never", cwd=work), "empty name")
    for data, out in (("text", "text/run"), (".", "never"), ("text/../text", work / "text" / "a" / "b")):
        refuses(maskwork("train", "--data", data, "--out", out, cwd=work), "outside of --data", "another --out")
    assert not (work / "never").exists()
    assert not (work / "text" / "run").exists()


def test_bad_recipes(work: Path):
    for name, text, words in (
        ("a.toml", "[model]\nlayer = 3\n", ("layer",)),
        ("b.toml", "steps = ", ("TOML",)),
        ("c.toml", "[train]\nsteps = 'many'\n", ("steps",)),
        ("d.toml", "[model]\nmask = 'causl'\n", ("causal", "^")),
        ("e.toml", "[optimizer]\nx = 1\n", ("optimizer",)),
        ("g.toml", "[model]\nwidth = " + "1" * 5000, ("digits",)),
        ("h.toml", "x = " + "[" * 9999, ("nests too deep",)),
        ("f.toml", "[model]\nmask = 'full'\n", ("shows no later token",)),
    ):
        (work / name).write_text(text)
        refuses(maskwork("train", "--data", "text", "--config", name, "--out", "never", cwd=work), *words)
        assert not (work / "never").exists()
    refuses(maskwork("train", "--data", "text", "--config", "none.toml", "--out", "never", cwd=work), "recipe")
