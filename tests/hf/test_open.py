"""A model of transformers is opened by one rule: the command line and the explorer hold it to the same masks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import maskwork as mw
from helpers.hugging_face import MODELS, built
from maskwork.cli.main import app
from maskwork.errors import ArgumentError
from maskwork.explorer._answers.model import ANSWERS
from maskwork.hf import OpenedModel, check_weight_files, is_model_folder, open_folder, open_model, read_config

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7]

#: Of one kind each; all are in tests/hf/test_masks.py.
OPENED = ("mistral", "gemma3", "qwen2", "qwen2 without", "llama", "gpt2", "bert", "llama4")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("opened")
    for name in OPENED:
        built(name).save_pretrained(root / name)
    return root


def command(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the report of `maskwork audit` by its check of the mask."""
    report = folder.parent / "report.json"
    report.unlink(missing_ok=True)
    options = ("--checks", "mask", "--length", str(len(IDS)), "--json", str(report))
    done = CliRunner().invoke(app, ["audit", str(folder), *options, *arguments])
    assert report.exists(), done.output
    return done.exit_code, json.loads(report.read_text())


@pytest.mark.parametrize("name", OPENED)
def test_an_honest_model_is_ok_in_both(folders: Path, name: str):
    code, report = command(folders / name)
    assert (code, report["ok"], report["checks"]) == (0, True, {"mask": "clean"})
    answer = ANSWERS["audit"]({"path": str(folders / name), "ids": IDS})
    assert (answer["ok"], answer["checks"]) == (True, {"mask": "clean"})
    assert answer["mask"] == MODELS[name][1]
    # Every layer's weights are 0 where the layer's own mask forbids them, and the layer that is shown says its mask.
    for layer in (0, 1):
        shown = ANSWERS["model"]({"path": str(folders / name), "ids": IDS, "layer": layer})
        own = open_model(str(folders / name)).masks
        assert shown["own"] == shown["mask"] == repr(own[layer] if len(own) > 1 else own[0])
        allowed = mw.parse(shown["own"]).bind(len(IDS)).dense()[0, 0]
        assert shown["allowed"] == ["".join("01"[cell] for cell in row) for row in allowed.tolist()]
        assert all(head["cells"] == 0 for heads in shown["everywhere"] for head in heads)


@pytest.mark.parametrize(
    ("name", "expect"),
    [("mistral", "sliding_window(5)"), ("gemma3", "sliding_window(5)"), ("llama", "causal & ~sinks(1)")],
)
def test_a_mask_that_the_model_does_not_keep_is_caught_in_both(folders: Path, name: str, expect: str):
    code, report = command(folders / name, "--expect", expect)
    assert (code, report["checks"]) == (1, {"mask": "leak"})
    answer = ANSWERS["audit"]({"path": str(folders / name), "ids": IDS, "mask": expect})
    assert (answer["ok"], answer["checks"]) == (False, {"mask": "leak"})
    assert answer["findings"][0]["module"] == report["findings"][0]["module"]


def test_a_window_that_is_one_key_too_wide_is_caught_in_both(folders: Path, monkeypatch: pytest.MonkeyPatch):
    from transformers import masking_utils

    def wider(window: int) -> Any:
        return lambda batch, head, query, key: key >= query - window

    monkeypatch.setattr(masking_utils, "sliding_window_overlay", wider)
    for name in ("mistral", "gemma3"):
        code, report = command(folders / name)
        assert (code, report["findings"][0]["cause"]) == (1, "window_off_by_one")
        assert report["findings"][0]["module"] == "model.layers.0.self_attn"
        answer = ANSWERS["audit"]({"path": str(folders / name), "ids": IDS})
        assert (answer["ok"], answer["findings"][0]["cause"]) == (False, "window_off_by_one")
        layer = ANSWERS["model"]({"path": str(folders / name), "ids": IDS[::-1]})["everywhere"][0]
        assert all(head["cells"] > 0 for head in layer)


def test_what_is_known_of_a_model_is_the_same_however_it_is_opened(folders: Path):
    folder = folders / "gemma3"
    trusted, guarded = open_model(str(folder)), open_folder(folder, read_config(folder, 1 << 20))
    for opened in (trusted, guarded):
        assert (opened.vocab_size, opened.context, opened.encode, opened.returns_attentions) == (40, 64, None, True)
        assert opened.masks == (mw.sliding_window(5), mw.sliding_window(5), mw.causal())
        assert opened.token_text(7) == "#7"
        assert not opened.model.training
    assert guarded.model.config._attn_implementation == "eager"


def test_masks_that_are_equal_at_a_length_are_one():
    masks = (mw.sliding_window(5), mw.causal())
    opened = OpenedModel(None, masks)
    assert opened.masks_at(5) == (mw.sliding_window(5),)
    assert opened.masks_at(6) == masks
    assert OpenedModel(None, ()).masks_at(8) == ()
    assert OpenedModel(None, (mw.document([3]),)).masks_at(8) == (mw.document([3]),)  # its user says that it is short


def test_wide_windows_are_causal_at_the_length_audited():
    """A tiny model keeps its window of thousands, and one mask fits all of its layers at 14 tokens."""
    runner = CliRunner()
    arguments = ["audit", "Gemma2ForCausalLM", "--tiny", "--checks", "mask,padding", "-n", "14"]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 0, done.output


def test_weights_that_are_missing_are_noted(folders: Path, tmp_path: Path):
    built("llama's body").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    opened = open_folder(tmp_path, read_config(tmp_path, 1 << 20))
    assert opened.notes == ("not in the files, so random here: lm_head.weight",)


def test_a_folder_is_known_by_its_configuration(folders: Path, tmp_path: Path):
    assert is_model_folder(folders / "bert")
    assert not is_model_folder(tmp_path)
    for text in ("[", "[]", "{}", '{"maskwork_run": 1}'):
        (tmp_path / "config.json").write_text(text)
        assert not is_model_folder(tmp_path)


def test_files_have_a_bound(folders: Path):
    check_weight_files(folders / "llama", 1 << 20)
    with pytest.raises(ArgumentError, match="at most 0 GiB"):
        check_weight_files(folders / "llama", 10)
    with pytest.raises(ArgumentError, match="has at most 0 MiB here"):
        read_config(folders / "llama", 10)


def test_a_class_that_cannot_be_built_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch):
    import transformers

    class Broken:
        @staticmethod
        def _from_config(config: Any) -> Any:
            raise RuntimeError("no room\nfor it")

        config_class = transformers.LlamaConfig

    monkeypatch.setattr(transformers, "BrokenForCausalLM", Broken, raising=False)
    with pytest.raises(
        ArgumentError, match=r"'BrokenForCausalLM' must build .* when it is shrunk, got RuntimeError: no room$"
    ):
        open_model("BrokenForCausalLM", shrink=True)


def test_a_name_of_nothing_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(
        ArgumentError, match="must be a run folder, a model folder, a hub id or module:callable"
    ) as caught:
        open_model(str(tmp_path / "nothing"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changed", "content"),
    [
        ("config.json", {"sliding_window": [4]}),
        ("config.json", {"sliding_window": 4.0}),
        ("config.json", {"sliding_window": True}),
        ("config.json", {"layer_types": ["full_attention"]}),
        ("config.json", {"layer_types": ["full_attention"] * 5}),
        ("config.json", {"layer_types": "sliding_attention"}),
        ("config.json", {"layer_types": ["no", "such"]}),
        ("model.safetensors", b""),
        ("model.safetensors", b"\x80\x02}q\x00." * 9),
    ],
)
def test_a_strangers_folder_is_refused_in_one_line_that_says_why(
    folders: Path, tmp_path: Path, changed: str, content: dict[str, Any] | bytes
):
    folder = tmp_path / "a model"
    shutil.copytree(folders / "qwen2", folder)
    file = folder / changed
    file.write_bytes(
        content if isinstance(content, bytes) else json.dumps(json.loads(file.read_text()) | content).encode()
    )
    for call in (lambda: open_model(str(folder)), lambda: open_folder(folder, read_config(folder, 1 << 20))):
        with pytest.raises(ArgumentError) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        assert not isinstance(content, dict) or next(iter(content)) in message
