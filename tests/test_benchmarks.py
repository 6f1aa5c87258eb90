"""Benchmarks start, measure and judge on small inputs; no test looks at a figure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / name, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("command", [["attention_cuda.py"], ["attention.py", "--device", "cuda"]])
def test_the_table_for_cuda_says_in_one_line_that_it_needs_a_gpu(command: list[str]):
    done = run(*command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "needs a CUDA device" in done.stderr


@pytest.mark.slow  # several processes, each of which imports torch
def test_the_table_for_cuda_runs_small_on_the_cpu(tmp_path: Path):
    path = tmp_path / "figures.json"
    done = run(
        "attention_cuda.py", "--device", "cpu", "--tokens", 256, "--heads", 2, "--dim", 16, "--rounds", 1,
        "--masks", "documents of 700", "Longformer", "--json", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no figure below says anything about a GPU" in done.stdout
    figures = json.loads(path.read_text())
    assert figures["missed"] == []
    for mask in ("documents of 700", "Longformer"):
        rows = figures[f"{mask}, 256"]
        assert list(rows) == ["ours", "flex", "flash", "dense"]
        for contestant in ("ours", "flash", "dense"):
            assert {"forward", "forward, mask made anew", "both", "both, mask made anew"} <= rows[contestant].keys()
        assert rows["flex"]["difference"] < 0.03
        assert "backward" in rows["flex"]["why no backward pass"]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_dense_mask_that_would_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import attention_cuda as benchmark

    device = benchmark.Device("cpu")
    monkeypatch.setattr(device, "free", lambda: 1000)
    qkv = [torch.randn(1, 2, 64, 8, dtype=torch.bfloat16) for _ in range(3)]
    rows = benchmark.measure("causal", qkv, 1, device)
    assert rows["dense"] == {"why not": "its mask would take 0.0 GiB"}
    assert benchmark._row("dense", rows["dense"], 1.0).startswith("dense | its mask would take")
    assert "forward" in rows["ours"]


@pytest.mark.slow  # several processes, each of which imports torch
def test_packing_is_measured_from_a_stream_and_judged(tmp_path: Path):
    path = tmp_path / "figures.json"
    done = run("packing.py", "--examples", 4000, "--buffers", 64, "--rows", 2, "--runs", 1, "--json", path)
    figures = json.loads(path.read_text())
    assert done.returncode == bool(figures["missed"]), done.stderr
    assert done.stdout.endswith(f"missed: {'; '.join(figures['missed']) or 'nothing'}\n")
    for kind, strategy, buffer, number in (
        ("tokens", "best_fit", 64, 4000), ("tokens", "best_fit", 512, 1000), ("tokens", "pad", 512, 4000),
        ("examples", "best_fit", 512, 4000),
    ):  # fmt: skip
        row = figures[f"{kind}:{strategy}:{buffer}:{number}"]
        assert row.keys() == {"share", "rows", "per minute", "per minute by the clock", "MB"}
        assert row["rows"] > 0
        assert 0 < row["share"] <= 1
    assert figures["tokens:best_fit:64:4000"]["share"] > 0.98 > figures["tokens:pad:512:4000"]["share"]
    assert {"one mask: geometry", "each its own: BlockMask"} <= figures["masks"].keys()


@pytest.mark.slow  # several processes, each of which imports torch
@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads peaks of memory from Linux")
def test_the_table_of_losses_runs_small(tmp_path: Path):
    path = tmp_path / "figures.json"
    done = run(
        "losses.py", "--positions", 64, "--width", 16, "--vocabulary", 100, "--rounds", 1, "--shares", 0.15,
        "--json", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())
    assert "missed" not in figures  # the bars apply to the default sizes only
    rows = figures["15%"]
    expected = rows["full logits, F.cross_entropy"]["loss"]
    assert len(rows) >= 3
    for row in rows.values():
        assert row["loss"] == pytest.approx(expected, rel=1e-5)
        assert {"seconds", "processor", "MB"} <= row.keys()


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads memory from Linux")
def test_the_explorer_is_visited_small(tmp_path: Path):
    path = tmp_path / "figures.json"
    done = run("explorer.py", "--tokens", 5000, "--documents", 3, "--requests", 5, "--json", path)
    figures = json.loads(path.read_text())
    assert done.returncode == bool(figures["missed"]), done.stderr
    assert figures.keys() == {"first", "median", "slowest", "MB", "describe", "why", "row", "column", "missed"}
    assert all(figures[name] > 0 for name in figures if name != "missed")
