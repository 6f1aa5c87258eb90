"""`maskwork audit` as a person types it: what it can be pointed at, its exit codes, the files it writes, the sweep."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from maskwork.cli.main import app
from maskwork.errors import ArgumentError

MODELS = """
from maskwork.proof.zoo import mutants
from maskwork.proof.zoo import Specimen, seeded

def running_sum(ids):
    return ids.cumsum(1)

def honest():
    return seeded(Specimen, 0)

def leaky():
    return next(m for m in mutants() if m.name == "window one too wide in layer 2").build()

number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "models_for_audit.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audit(*arguments: str):
    return CliRunner().invoke(app, ["audit", *arguments])


def test_a_function_a_factory_and_a_leak(here: Path):
    assert audit("models_for_audit:running_sum", "--length", "12").exit_code == 0
    done = audit("models_for_audit:honest", "-n", "24", "--json", "r.json", "--junit", "r.xml")
    assert done.exit_code == 0, done.output
    assert set(json.loads((here / "r.json").read_text())["checks"]) == {"mask", "padding", "packing", "cache", "batch"}
    assert ElementTree.parse(here / "r.xml").getroot().get("tests") == "5"
    leak = audit(
        "models_for_audit:leaky", "-n", "24", "--expect", "sliding_window(6)", "--checks", "mask", "--json", "-"
    )
    assert leak.exit_code == 1
    finding = json.loads(leak.output)["findings"][0]
    assert (finding["module"], finding["cause"]) == ("blocks.2.attention", "window_off_by_one")


def test_what_cannot_run_exits_2(here: Path):
    done = audit("models_for_audit:running_sum", "--expect", "sliding_window(3)", "--checks", "mask")
    assert done.exit_code == 2
    assert "give layers=" in done.output
    assert audit("models_for_audit:running_sum", "--checks", "cache").exit_code == 2
    for target, words in (
        ("models_for_audit:nothing", "must name a callable"),
        ("no_such_module:x", "must name a callable"),
        ("models_for_audit:number", "must be a model or make one"),
        (".", "config.json"),
    ):
        done = audit(target)
        assert words in str(done.exception), target
    assert isinstance(audit().exception, ArgumentError)


def test_the_tokens_of_a_module_lie_in_its_smallest_table(here: Path):
    model = "nn.Sequential(nn.Embedding(5, 8), nn.GRU(8, 8, batch_first=True))"
    source = f"from torch import nn\n\ndef few():\n    return {model}\n"
    (here / "few_tokens.py").write_text(source)
    done = audit("few_tokens:few", "--checks", "mask,batch")
    assert done.exit_code == 0, done.output
    assert "leave them out" in str(audit("few_tokens:few", "--tiny").exception)


def test_a_class_of_transformers_without_weights(here: Path):
    pytest.importorskip("transformers")
    done = audit("GPT2LMHeadModel", "--random-init", "--tiny", "--checks", "mask", "-n", "8")
    assert done.exit_code == 0, done.output
    assert "2 modules that mix positions" in done.output


def test_a_hugging_face_folder_without_weights(here: Path):
    transformers = pytest.importorskip("transformers")
    transformers.LlamaConfig(architectures=["LlamaForCausalLM"]).save_pretrained(here / "llama")
    done = audit("llama", "--random-init", "--tiny", "--checks", "mask,padding,cache", "-n", "16")
    assert done.exit_code == 0, done.output
    assert "2 modules that mix positions" in done.output
    with pytest.raises(ArgumentError, match="--random-init needs none"):
        raise audit("llama", "--checks", "mask").exception


def test_the_sweep_resumes_and_survives_what_goes_wrong(here: Path):
    pytest.importorskip("transformers")
    arguments = ("--all-transformers", "--only", "GPT2LM", "--out", "sweep", "--page", "page.md")
    done = audit(*arguments)
    assert done.exit_code == 1, done.output  # packing through the default call leaks
    row = json.loads((here / "sweep" / "GPT2LMHeadModel.json").read_text())
    assert (row["checks"]["mask"], row["checks"]["packing"]) == ("clean", "leak")
    assert "| GPT2LMHeadModel | clean | clean | **leak** | clean | clean |" in (here / "page.md").read_text()
    # a marked row is not done again, half of one is
    (here / "sweep" / "GPT2LMHeadModel.json").write_text(json.dumps({**row, "mark": 1}))
    audit(*arguments)
    assert json.loads((here / "sweep" / "GPT2LMHeadModel.json").read_text())["mark"] == 1
    (here / "sweep" / "GPT2LMHeadModel.json").write_text("{")
    slow = audit(*arguments, "--timeout", "0.01")
    assert slow.exit_code == 0
    assert "cannot run: more than 0 s" in slow.output
    assert json.loads((here / "sweep" / "all.json").read_text())["GPT2LMHeadModel"]["checks"] == {}


def test_a_crash_ends_one_row_and_not_the_sweep(here: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("transformers")
    import os

    from maskwork.cli import _sweep

    monkeypatch.setattr(_sweep, "audit_one", lambda name: os._exit(11))
    monkeypatch.setattr(_sweep, "architectures", lambda only: ["First", "Second"])
    assert _sweep.sweep(here / "sweep", only="", timeout=60, memory=16, page=None) == 0
    rows = json.loads((here / "sweep" / "all.json").read_text())
    assert [row["why"] for row in rows.values()] == ["its process ended with 11"] * 2
