"""The whole demo, as `make demo` runs it: minutes, so it is marked slow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo_learns_proves_and_streams(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "maskwork", "demo", "--out", str(tmp_path / "run")],
        env=os.environ | {"MASKWORK_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "audit: ok" in done.stdout
    for check in ("mask", "packing", "cache"):
        assert f"{check}: clean" in done.stdout
    assert done.stdout.count("yes, 200") == 3, "cached and uncached decoding give the same 200 tokens"
    final = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["final"]
    zlib = next(line.split()[-1] for line in done.stdout.splitlines() if line.strip().startswith("zlib -9"))
    assert final["bits_per_byte"] < float(zlib)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "metrics.jsonl", "mask.svg", "loss.png"}
