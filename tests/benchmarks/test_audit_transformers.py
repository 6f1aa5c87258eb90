"""The sweep over transformers resumes, and survives a crash, a hang or too much memory of one architecture."""

import json
import os
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytest.importorskip("transformers")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import audit_transformers

    return audit_transformers


def test_the_sweep_resumes_and_survives_a_timeout(
    benchmark: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out, page = tmp_path / "sweep", tmp_path / "page.md"
    path = out / "GPT2LMHeadModel.json"
    arguments = ("--only", "GPT2LM", "--out", str(out), "--page", str(page))
    assert benchmark.main(arguments) == 1  # packing through the default call leaks
    row = json.loads(path.read_text())
    assert (row["checks"]["mask"], row["checks"]["packing"]) == ("clean", "leak")
    assert "| GPT2LMHeadModel | clean | clean | **leak** | clean | clean |" in page.read_text()
    # The sweep skips a complete row, which keeps its mark, and audits the architecture of an incomplete row again.
    path.write_text(json.dumps({**row, "mark": 1}))
    benchmark.main(arguments)
    assert json.loads(path.read_text())["mark"] == 1
    path.write_text("{")
    capfd.readouterr()
    assert benchmark.main((*arguments, "--timeout", "0.01")) == 0
    assert "cannot run: more than 0 s" in capfd.readouterr().out
    assert json.loads((out / "all.json").read_text())["GPT2LMHeadModel"]["checks"] == {}


def test_a_crash_ends_one_row_and_not_the_sweep(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(benchmark, "audit_one", lambda name: os._exit(11))
    monkeypatch.setattr(benchmark, "architectures", lambda only: ["First", "Second"])
    assert benchmark.sweep(tmp_path / "sweep", only="", timeout=60, memory=16, page=None) == 0
    rows = json.loads((tmp_path / "sweep" / "all.json").read_text())
    assert [row["why"] for row in rows.values()] == ["its process ended with 11"] * 2


def test_a_name_of_no_architecture_is_refused(benchmark: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as refused:
        benchmark.main(("--only", "no such model", "--out", str(tmp_path / "sweep")))
    assert refused.value.code == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "sweep").exists()
