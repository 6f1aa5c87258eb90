"""Weights are written whole, and read from any safetensors file that fits the model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from maskwork.errors import CheckpointError
from maskwork.models import ModelConfig, Transformer, load_weights, save_weights

SMALL = ModelConfig(vocab_size=53, layers=3, width=32, heads=4, kv_heads=2, hidden=48, context=64)
IDS = torch.randint(0, 53, (2, 40), generator=torch.Generator().manual_seed(1))


def make(config: ModelConfig = SMALL) -> Transformer:
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model.eval()


def test_weights_round_trip_and_refuse_what_is_cut_or_foreign(tmp_path: Path):
    model = make()
    path = tmp_path / "model.safetensors"
    save_weights(model, path)
    other = Transformer(SMALL)
    load_weights(other, path)
    with torch.no_grad():
        assert torch.equal(model(IDS), other.eval()(IDS))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError, match="got none at"):
        load_weights(other, tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    for size in (0, 7, 100, path.stat().st_size - 1):
        shutil.copy(path, cut)
        with cut.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(CheckpointError, match="damaged or of another format"):
            load_weights(other, cut)
    for change in ({"layers": 2}, {"layers": 4}, {"hidden": 64}):
        foreign = Transformer(ModelConfig.from_dict(SMALL.to_dict() | change))
        with pytest.raises(CheckpointError, match="fit the model"):
            load_weights(foreign, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_any_safetensors_file_is_read(tmp_path: Path):
    """Weights of another program: no metadata or its own, another dtype, another order."""
    model, path = make(), tmp_path / "foreign.safetensors"
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for metadata in (None, {"format": "pt"}):
        save_file(dict(reversed(expected.items())), path, metadata)
        other = Transformer(SMALL)
        load_weights(other, path)
        assert all(torch.equal(expected[name], tensor) for name, tensor in other.state_dict().items())
    save_file({name: tensor.bfloat16() for name, tensor in expected.items()}, path)
    load_weights(other, path)
    assert other.embedding.weight.dtype == torch.float32
    assert torch.equal(other.embedding.weight, expected["embedding.weight"].bfloat16().float())


def test_each_way_not_to_fit_is_named_and_changes_nothing(tmp_path: Path):
    model, path = make(), tmp_path / "foreign.safetensors"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    missing = {name: tensor for name, tensor in before.items() if "blocks.1." not in name}
    unexpected = before | {"lm_head.weight": torch.zeros(2)}
    transposed = before | {"blocks.0.feed_forward.down.weight": torch.zeros(48, 32)}
    for tensors, words in (
        (missing, r"without 'blocks\.1\..*' and \d+ more tensors"),
        (unexpected, "got 'lm_head.weight' in .*, which the model lacks"),
        (transposed, r"got 'blocks.0.feed_forward.down.weight' of shape \(48, 32\) .* the model has \(32, 48\)"),
        ({}, "without 'blocks"),
    ):
        save_file({name: torch.ones_like(tensor) for name, tensor in tensors.items()}, path)
        with pytest.raises(CheckpointError, match=words) as caught:
            load_weights(model, path)
        assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64], ids=str)
def test_numbers_of_another_kind_are_no_weights(tmp_path: Path, dtype: torch.dtype):
    model = torch.nn.Linear(3, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = tmp_path / "quantized.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in before.items()}, path)
    with pytest.raises(CheckpointError, match=r"got 'bias' of torch\.\w+ in .*, the model has torch\.float32"):
        load_weights(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_floats_of_another_width_are_converted(tmp_path: Path, dtype: torch.dtype):
    model, path = torch.nn.Linear(3, 4), tmp_path / "half.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in torch.nn.Linear(3, 4).state_dict().items()}
    save_file(tensors, path)
    load_weights(model, path)
    assert all(torch.equal(tensor, tensors[name].float()) for name, tensor in model.state_dict().items())
