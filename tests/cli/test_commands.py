"""The commands as a person types them: what they print, where they exit, and what bad input gets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from helpers.command_line import Done, maskwork
from maskwork._shared.checksum import tensors_crc32

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

#: For the tests that need a process of their own, to be killed.
ENVIRONMENT = {**os.environ, "NO_COLOR": "", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning:maskwork"}


def refuses(done: Done, *words: str) -> None:
    """Exit code 2 and one line (a caret's two more aside) that holds these words; no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or "^" in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, a recipe and one trained run."""
    folder = tmp_path_factory.mktemp("work")
    text = folder / "text"
    text.mkdir()
    for i in range(20):
        (text / f"{i}.txt").write_text(
            "".join(f"line {j} of file {i}: the cat sat on mat {i * j}\n" for j in range(30))
        )
    (folder / "recipe.toml").write_text(RECIPE)
    done = maskwork("train", "--data", "text", "--config", "recipe.toml", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


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
    recipe.write_text(RECIPE.replace("steps = 12", "steps = 400").replace("log_every = 2", "log_every = 40"))
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


def test_generate(work: Path):
    one = maskwork("generate", "run", "--prompt", "line 3", "--max-tokens", "12", cwd=work)
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("line 3")
    streamed = maskwork("generate", "run", "--prompt", "line 3", "--max-tokens", "12", "--stream", cwd=work)
    uncached = maskwork("generate", "run", "--prompt", "line 3", "--max-tokens", "12", "--no-cache", cwd=work)
    piped = maskwork("generate", "run", "--prompt", "-", "--max-tokens", "12", cwd=work, stdin="line 3")
    assert one.stdout == streamed.stdout == uncached.stdout == piped.stdout
    options = ("--temperature", "1", "--top-k", "20", "--top-p", "0.9", "--max-tokens", "12")
    texts = [
        maskwork("generate", "run", "--prompt", "line", *options, "--seed", seed, cwd=work).stdout for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_prompt_longer_than_the_context(work: Path):
    long = "line 1 of file 2 " * 50
    refuses(maskwork("generate", "run", "--prompt", long, cwd=work), "context of 32 tokens", "--truncate left")
    done = maskwork("generate", "run", "--prompt", long, "--truncate", "left", "--max-tokens", "3", cwd=work)
    assert done.returncode == 0
    assert "3 tokens" in done.stderr


def test_audit_passes_on_an_honest_run_and_exits_1_on_a_leak(work: Path):
    done = maskwork("audit", "run", "--length", "24", cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mask: clean" in done.stdout
    report = json.loads(maskwork("audit", "run", "--length", "24", "--json", "-", cwd=work).stdout)
    assert report["ok"] is True

    # A run whose config says causal while its weights were made to leak cannot be built from outside; what can happen
    # is a model that mixes nothing, and that is not called clean either.
    import torch
    from safetensors.torch import save_file

    shutil.copytree(work / "run", work / "deaf")
    tensors = load_file(work / "deaf" / "model.safetensors")
    tensors = {name: torch.zeros_like(t) if "attention.out" in name else t for name, t in tensors.items()}
    metadata = {"maskwork_weights_crc32": str(tensors_crc32(tensors))}
    save_file(tensors, work / "deaf" / "model.safetensors", metadata)
    deaf = maskwork("audit", "deaf", "--length", "24", cwd=work)
    assert deaf.returncode == 1
    assert "nothing to leak" in deaf.stdout


def test_show(work: Path):
    done = maskwork("show", "causal & sliding_window(8)", "--length", "32", "--svg", "m.svg", cwd=work)
    assert done.returncode == 0
    assert "228 of 1,024 pairs" in done.stdout
    assert (work / "m.svg").read_text().startswith("<svg")
    second = maskwork("show", "sliding_window([2, 4])", "--length", "8", "--head", "1", cwd=work)
    assert "26 of 64 pairs" in second.stdout
    long = maskwork("show", "causal & sliding_window(8)", "--length", "1000000", cwd=work)
    assert long.returncode == 0
    assert max(map(len, long.stdout.splitlines())) <= 80


def test_version_and_help(work: Path):
    assert maskwork("--version", cwd=work).stdout.startswith("maskwork 0.")
    for command in ("demo", "train", "generate", "audit", "show"):
        done = maskwork(command, "--help", cwd=work)
        assert done.returncode == 0
        assert f"Example: maskwork {command}" in done.stdout
        assert "\x1b" not in done.stdout


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


def test_bad_masks(work: Path):
    refuses(maskwork("show", "causal & slidingwindow(3)", cwd=work), "did you mean 'sliding_window'", "^")
    refuses(maskwork("show", "causal & (", cwd=work), "^")
    refuses(maskwork("show", "document([3, 4])", "--length", "9", cwd=work), "7", "9")


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
