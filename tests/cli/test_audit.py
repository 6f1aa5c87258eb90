"""`maskwork audit` as a person types it: what it can be pointed at, its exit codes, the files it writes."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from helpers.command_line import maskwork, tiny_run
from maskwork._shared.checksum import tensors_crc32
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
    assert audit().exit_code == 2


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


def test_an_audit_is_as_long_as_the_context_allows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from maskwork.cli import audit

    audit.command(str(tiny_run(tmp_path / "short", 12)))
    assert "clean" in capsys.readouterr().out
    with pytest.raises(ArgumentError, match="sequence of 4 tokens, got a model whose context is 3"):
        audit.command(str(tiny_run(tmp_path / "tiny", 3)))
