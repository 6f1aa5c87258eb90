"""Weights in the Model panel are the model's own: a leak shows, whatever is declared, and a clean model shows none."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
import transformers

import maskwork as mw
from helpers.small_models import IDS, transformer, write_folders
from maskwork.errors import ArgumentError, MaskworkError
from maskwork.explorer._answers.attention_weights import attended
from maskwork.explorer._answers.model import ANSWERS
from maskwork.models import Transformer
from maskwork.proof import plant

LENGTH = len(IDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_folders(root)
    return root


def asked(folder: Path, **more: Any) -> dict[str, Any]:
    return ANSWERS["model"]({"path": str(folder), "ids": IDS, **more})


def decoded(answer: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(answer["weights"]), "<f8").reshape(LENGTH, LENGTH)


def by_hand(model: Transformer, allowed: torch.Tensor) -> torch.Tensor:
    """Weights (H, L, L) of the first layer in float64, by the definition of attention."""
    ids = torch.tensor(IDS)
    layer = model.blocks[0].attention
    x = model.blocks[0].attention_norm(model.embedding(ids)[None] * model.config.width**0.5)
    q, k, _ = layer._heads(layer.qkv(x)).split([4, 2, 2], 1)
    cos, sin = model.rotary(torch.arange(LENGTH)[None])
    q, k = (mw.nn.rotate(part, cos, sin).double() for part in (q, k))
    scores = q @ k.repeat_interleave(2, dim=1).transpose(-2, -1) * layer.head_dim**-0.5
    return scores.masked_fill(~allowed, float("-inf")).softmax(-1)[0]


def test_weights_are_those_of_the_definition():
    model = transformer()
    with torch.no_grad():
        expected = by_hand(model, torch.ones(LENGTH, LENGTH).tril().bool())
    found = attended(model, torch.tensor(IDS))
    assert len(found) == 2
    assert torch.allclose(found[0], expected, rtol=1e-4, atol=1e-6)
    # To watch it changes nothing.
    with torch.inference_mode():
        before = model(torch.tensor([IDS]))
        attended(model, torch.tensor(IDS))
        assert torch.equal(model(torch.tensor([IDS])), before)


def test_a_planted_leak_is_watched_and_not_covered_by_the_declared_mask():
    above = torch.ones(LENGTH, LENGTH).triu(1).bool()
    clean, leaking = (attended(model, torch.tensor(IDS)) for model in (transformer(), plant("no_mask", transformer())))
    assert all((layer[:, above] == 0).all() for layer in clean)
    assert all((layer[:, above] > 0).all() for layer in leaking)
    with torch.no_grad():
        expected = by_hand(transformer(), torch.ones(LENGTH, LENGTH).bool())
    assert torch.allclose(leaking[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "cells"), [("clean", 0), ("ahead", LENGTH - 1), ("everything", 66), ("llama", 0), ("bert", 66)]
)
def test_weight_on_forbidden_cells_is_counted(folders: Path, name: str, cells: int):
    found = asked(folders / name, mask="causal", layer=1, head=1)
    weights = decoded(found)
    allowed = np.array([[cell == "1" for cell in row] for row in found["allowed"]])
    assert np.array_equal(allowed, np.tril(np.ones((LENGTH, LENGTH), bool)))
    assert found["forbidden"] == {"cells": cells, "weight": pytest.approx(weights[~allowed].sum()), "of": 66}
    assert (found["forbidden"]["weight"] == 0) == (cells == 0)
    assert np.allclose(weights.sum(-1), 1, atol=1e-6)
    assert found["everywhere"][1][1] == found["forbidden"]
    assert all((head["cells"] > 0) == (cells > 0) for layer in found["everywhere"] for head in layer)


def test_under_its_own_mask_a_leaking_model_looks_clean_and_says_so(folders: Path):
    found = asked(folders / "ahead", mask=None)
    assert found["forbidden"]["cells"] == 0
    assert found["mask"] == found["own"] == "band(0, 1) | causal"
    assert (asked(folders / "llama")["own"], asked(folders / "bert")["own"]) == ("causal", "full")


@pytest.mark.parametrize(
    ("kinds", "own"),
    [(None, ["sliding_window(4)"] * 2), (["sliding_attention", "full_attention"], ["sliding_window(4)", "causal"]),
     (["full_attention"] * 2, ["causal"] * 2)],
)  # fmt: skip
def test_the_window_of_a_configuration_is_read(tmp_path: Path, kinds: list[str] | None, own: list[str]):
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 8,
             "intermediate_size": 8, "vocab_size": 20, "bos_token_id": None, "eos_token_id": None}  # fmt: skip
    if kinds is None:
        model = transformers.MistralForCausalLM(transformers.MistralConfig(**shape, sliding_window=4))
    else:
        config = transformers.Qwen2Config(**shape, use_sliding_window=True, sliding_window=4, layer_types=kinds)
        model = transformers.Qwen2ForCausalLM(config)
    model.save_pretrained(tmp_path)
    for layer, mask in enumerate(own):
        found = asked(tmp_path, layer=layer)
        assert (found["own"], found["mask"], found["notes"]) == (mask, mask, [])
    assert all(head["cells"] == 0 for layer in found["everywhere"] for head in layer)
    # and no narrower one
    for mask, layer in zip(own, asked(tmp_path, mask="sliding_window(3)")["everywhere"], strict=True):
        assert all(head["cells"] > 0 for head in layer), mask


def test_weights_of_hugging_face_are_those_that_it_returns(folders: Path):
    model = transformers.LlamaForCausalLM.from_pretrained(folders / "llama", attn_implementation="eager")
    with torch.no_grad():
        layers = model(torch.tensor([IDS]), output_attentions=True).attentions
    assert np.array_equal(decoded(asked(folders / "llama", layer=1, head=0)), layers[1][0, 0].double().numpy())


def test_what_is_not_a_number_is_not_0(folders: Path):
    model = transformers.LlamaForCausalLM.from_pretrained(folders / "llama")
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight.fill_(float("nan"))
    model.save_pretrained(folders / "broken")
    found = asked(folders / "broken", mask="causal", layer=1)
    assert found["forbidden"] == {"cells": 66, "weight": None, "of": 66}
    json.dumps(found, allow_nan=False)


def test_heads_have_their_own_masks(folders: Path):
    mask = "per_head([causal, sliding_window(2), causal, causal])"
    cells = [head["cells"] for head in asked(folders / "clean", mask=mask)["everywhere"][0]]
    assert cells == [0, 55, 0, 0]
    assert asked(folders / "clean", mask=mask, head=1)["allowed"][5] == "000011000000"


def test_findings_of_the_audit_are_told(folders: Path):
    body = {"ids": IDS, "mask": "causal"}
    found = ANSWERS["audit"]({**body, "path": str(folders / "ahead")})
    assert not found["ok"]
    assert found["checks"] == {"mask": "leak"}
    finding = found["findings"][0]
    assert (finding["query"], finding["key"], finding["pairs"]) == (0, 1, LENGTH - 1)
    assert finding["module"] == "blocks.0.attention"
    assert "input 1 reaches output 0" in finding["text"]
    assert "!" in finding["picture"]
    clean = ANSWERS["audit"]({**body, "path": str(folders / "clean")})
    assert (clean["ok"], clean["findings"]) == (True, [])


def test_a_text_needs_a_tokenizer_and_tokens_show_theirs(folders: Path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"the": 0, "cat": 1, "sat": 2}, unk_token="the"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ArgumentError, match=r"needs the model's tokenizer\.json"):
        ANSWERS["model"]({"path": str(folders / "bert"), "prompt": "cat sat"})
    tokenizer.save(str(folders / "bert" / "tokenizer.json"))
    found = ANSWERS["model"]({"path": str(folders / "bert"), "prompt": "cat sat cat"})
    assert (found["ids"], found["tokens"]) == ([1, 2, 1], ["cat", "sat", "cat"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "path is a text"),
        ({"path": 3}, "path is a text"),
        ({"path": "/no/such/folder"}, "got nothing at '/no/such/folder'"),
        ({"path": "a\0b"}, "got nothing at"),
        ({"path": "/" + "a" * 4090}, "got nothing at"),
        ({"path": "~nobody-of-this-name/x"}, "got nothing at"),
        ({"path": "/"}, "holds config.json, got none"),
        ({"path": "example:"}, "examples are honest, no-mask, shifted-labels, got ''"),
        ({"path": "example:honest", "prompt": "é" * 33}, "1 to 64 tokens"),
        ({"path": "example:honest", "ids": [256]}, "0 to 255"),
        ({"path": "example:honest", "prompt": "a", "mask": "per_row([causal, full])"}, "batch rows"),
        ({"ids": []}, "1 to 16 tokens"),
        ({"ids": list(range(17))}, "1 to 16 tokens"),
        ({"ids": [20]}, "0 to 19"),
        ({"ids": [-1]}, "whole numbers from 0"),
        ({"ids": [True]}, "whole numbers from 0"),
        ({"ids": "1 2"}, "whole numbers from 0"),
        ({"ids": [1, 2], "layer": 2}, "layers are 0 to 1"),
        ({"ids": [1, 2], "head": -1}, "heads are 0 to 3"),
        ({"ids": [1, 2], "head": 1.0}, "heads are 0 to 3"),
        ({"ids": [1, 2], "mask": "causl"}, "did you mean"),
        ({"ids": [1, 2], "mask": ""}, "mask is a text"),
        ({"ids": [1, 2], "mask": "per_row([causal, full])"}, "a mask of 2 batch rows"),
        ({"ids": [1, 2], "mask": "document([1])"}, "reach 1"),
        ({"prompt": "a text"}, r"tokenizer\.json"),
        ({}, "prompt is a text|path is a text"),
    ],
)
def test_what_breaks_a_rule_is_said_in_one_line(folders: Path, body: dict[str, Any], said: str):
    body = body if "path" in body or not body else {"path": str(folders / "clean"), **body}
    with pytest.raises(MaskworkError, match=said):
        ANSWERS["model"](body)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[", "must be JSON"),
        ("[]", "is a table"),
        ("[" * 100_000, "must be JSON"),
        ('{"maskwork_run": 99}', "format 1"),
        ('{"model_type": "llama"}', "under architectures"),
        ('{"model_type": "llama", "architectures": ["os.system"]}', "code from elsewhere is not run"),
        ('{"model_type": "llama", "architectures": ["pipeline"]}', "code from elsewhere is not run"),
        ('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}', "from safetensors files"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path: Path, config: str, said: str):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(MaskworkError, match=said):
        asked(tmp_path)


@pytest.mark.parametrize(
    "mask", ["causal", "per_head([causal, sliding_window(2), causal])", "causal & ~sinks(2)", None]
)
@pytest.mark.parametrize(
    ("name", "leaks", "causes"),
    [("honest", False, []), ("no-mask", True, ["no_mask"]), ("shifted-labels", False, ["off_by_one"])],
)
def test_examples_do_what_they_are_named_for(name: str, leaks: bool, causes: list[str], mask: str | None):
    body = {"path": f"example:{name}", "prompt": "The cat ate", "mask": mask}
    found = ANSWERS["model"](body)
    assert found["tokens"] == list("The␣cat␣ate")
    assert found["mask"] == found["own"] == (mask or "causal")
    for layer in found["everywhere"]:
        for head in layer:
            assert head["cells"] == (head["of"] if leaks else 0)
    report = ANSWERS["audit"](body)
    assert report["ok"] == (not causes)
    assert [finding["cause"] for finding in report["findings"]][:1] == causes


def test_a_file_that_cannot_be_read_is_said(folders: Path, tmp_path: Path):
    for file in (folders / "clean").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "x.safetensors").symlink_to("nowhere")
    with pytest.raises(ArgumentError, match=r"x\.safetensors', which can't \(No such file"):
        asked(tmp_path)


def test_a_model_that_reads_more_than_tokens_is_refused(tmp_path: Path):
    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 8}
    text = {**shape, "vocab_size": 20, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    sight = {**shape, "image_size": 8, "patch_size": 4}
    config = transformers.CLIPConfig(text_config=text, vision_config=sight, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="models that read tokens alone, got CLIPModel in"):
        asked(tmp_path)


def test_a_config_without_end_is_not_read(tmp_path: Path):
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # a file with nothing in it: to read it would take a terabyte
    with pytest.raises(ArgumentError, match=rf"at most 1 MiB here, got {1 << 40} bytes in '"):
        asked(tmp_path)


def test_no_pickle_is_read(folders: Path, tmp_path: Path):
    """A model whose weights are a pickle is refused, and what the pickle would do is not done."""
    done = tmp_path / "done"

    class Act:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (done,))

    (tmp_path / "config.json").write_text((folders / "llama" / "config.json").read_text())
    torch.save({"lm_head.weight": Act()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ArgumentError, match="from safetensors files"):
        asked(tmp_path)
    assert not done.exists()


def test_another_model_in_the_same_folder_is_another_model(folders: Path, tmp_path: Path):
    for name, cells in (("clean", 0), ("everything", 66)):
        for file in (folders / name).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        assert asked(tmp_path, mask="causal")["forbidden"]["cells"] == cells


def test_files_are_read_only_for_who_has_the_token(client: httpx2.Client, token: dict[str, str], folders: Path):
    body = {"path": str(folders / "ahead"), "ids": IDS, "mask": "causal"}
    for shown in ({}, {"x-maskwork-token": ""}, {"x-maskwork-token": "this-launc"}, {"x-maskwork-token": "é"}):
        for question in ("model", "audit"):
            answer = client.post(f"/api/{question}", json=body, headers={k: v.encode() for k, v in shown.items()})
            assert answer.status_code == 403
            assert "token" in answer.json()["error"]
    answer = client.post("/api/model", json=body, headers=token)
    assert answer.status_code == 200
    assert answer.json()["forbidden"]["cells"] == LENGTH - 1
    assert client.post("/api/audit", json=body, headers=token).json()["checks"] == {"mask": "leak"}
    assert client.post("/api/model", json={"path": "/no"}, headers=token).status_code == 422
    for depth in range(100, 1000, 50):
        nested = b'{"path": "example:honest", "ids": ' + b"[" * depth + b"]" * depth + b"}"
        assert client.post("/api/model", content=nested, headers=token).status_code == 422
    for content in (b"", b"[", b"[]", b"null", b"[" * 60_000, b"\xff"):
        answer = client.post("/api/model", content=content, headers=token)
        assert answer.status_code == 422
        assert "JSON object" in answer.json()["error"]
