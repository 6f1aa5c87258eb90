"""The checkpoint file: what goes in comes out, and nothing else is accepted."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from maskwork.errors import ArgumentError, CheckpointError
from maskwork.training._checkpoint import (
    Progress,
    first_difference,
    load_checkpoint,
    load_checkpoint_weights,
    save_checkpoint,
)
from maskwork.training._optimizer import make_optimizer

IDENTITY = {"model": {"width": 4}, "train": {"seed": 0, "betas": [0.9, 0.95]}, "data": {"digest": "2f"}}


class Tied(nn.Module):
    """Two names for one weight, a view into it, a buffer, an unused and a bfloat16 parameter."""

    def __init__(self, width=4):
        super().__init__()
        self.embedding = nn.Embedding(6, width)
        self.head = nn.Linear(width, 6, bias=False)
        self.head.weight = self.embedding.weight
        self.bias = nn.Parameter(torch.zeros(6))
        self.unused = nn.Parameter(torch.ones(3, 2))
        self.coarse = nn.Parameter(torch.ones(6, dtype=torch.bfloat16))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("first_row", self.embedding.weight.detach()[0])
        self.register_buffer("nothing", torch.zeros(0, 2))

    def forward(self, ids):
        self.seen += 1
        return self.head(self.embedding(ids)) + self.bias + self.coarse


@pytest.fixture
def trained(make_config):
    torch.manual_seed(0)
    model = Tied()
    optimizer = make_optimizer(model, make_config())
    step(model, optimizer)
    step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.arange(6)), torch.arange(6).flip(0)).backward()
    optimizer.step()


def save(path, model, optimizer, identity=IDENTITY):
    progress = Progress(2, 12)
    save_checkpoint(path, model, optimizer, progress=progress, identity=identity, version="0.1.0")


def fresh(make_config, width=4):
    torch.manual_seed(99)
    model = Tied(width)
    return model, make_optimizer(model, make_config())


def test_training_goes_on_bit_for_bit(tmp_path, trained, make_config):
    save(tmp_path / "c.safetensors", *trained)
    model, optimizer = fresh(make_config)
    assert load_checkpoint(tmp_path / "c.safetensors", model, optimizer, identity=IDENTITY) == Progress(2, 12)
    assert model.seen == 2
    for _ in range(3):
        step(*trained)
        step(model, optimizer)
    for name, tensor in trained[0].state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_loaded_tensors_stay_tied_and_leave_the_file(tmp_path, trained, make_config):
    path = tmp_path / "c.safetensors"
    save(path, *trained)
    before = path.read_bytes()
    model, optimizer = fresh(make_config)
    load_checkpoint(path, model, optimizer, identity=IDENTITY)
    assert model.head.weight is model.embedding.weight
    step(model, optimizer)
    assert path.read_bytes() == before


def test_shared_tensors_are_written_once_and_equal_states_write_equal_files(tmp_path, trained):
    save(tmp_path / "a.safetensors", *trained)
    save(tmp_path / "b.safetensors", *trained)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        names = set(file.keys())
        header = json.loads(file.metadata()["maskwork_checkpoint"])
    assert "model.embedding.weight" in names
    assert "model.head.weight" not in names
    assert "optimizer.embedding.weight:exp_avg" in names
    assert not any(name.startswith("optimizer.unused") for name in names)
    assert (header["format"], header["version"], header["step"]) == (1, "0.1.0", 2)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "width", 8, "got model.width = 8 where '.*' has 4"),
        ("train", "seed", 1, "got train.seed = 1 where '.*' has 0"),
        ("train", "betas", (0.9, 0.99), r"got train.betas = \[0.9, 0.99\] where '.*' has \[0.9, 0.95\]"),
        ("data", "digest", "3e", "got data.digest = 3e where '.*' has 2f"),
        ("train", "clip", 1.0, "got train.clip = 1.0 where '.*' has absent"),
    ],
)
def test_refuses_another_run_and_names_the_field(tmp_path, trained, make_config, section, key, value, message):
    save(tmp_path / "c.safetensors", *trained)
    model, optimizer = fresh(make_config)
    other = IDENTITY | {section: IDENTITY[section] | {key: value}}
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c.safetensors", model, optimizer, identity=other)
    assert model.seen == 0
    assert not optimizer.state


def test_tuples_equal_the_lists_they_are_saved_as(tmp_path, trained, make_config):
    save(tmp_path / "c.safetensors", *trained)
    same = IDENTITY | {"train": {"seed": 0, "betas": (0.9, 0.95)}}
    load_checkpoint(tmp_path / "c.safetensors", *fresh(make_config), identity=same)


def test_refuses_a_model_of_another_shape_and_leaves_it_as_it_was(tmp_path, trained, make_config):
    save(tmp_path / "c.safetensors", *trained)
    model, optimizer = fresh(make_config, width=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"embedding.weight.* float32 \(6, 4\)"):
        load_checkpoint(tmp_path / "c.safetensors", model, optimizer, identity=IDENTITY)
    message = r"embedding.weight: float32 \(6, 4\) in '.*' where this model has float32 \(6, 5\)"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint_weights(tmp_path / "c.safetensors", model)
    with pytest.raises(CheckpointError, match=r"got bias: float32 \(6,\) in '.*' where this model has nothing"):
        load_checkpoint_weights(tmp_path / "c.safetensors", nn.Linear(1, 1, bias=False))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def damage(name, content):
    size = len(content)
    return {
        "empty": b"",
        "cut in the header": content[:20],
        "cut in the tensors": content[: size - 5],
        "longer": content + b"\0" * 8,
        "one bit flipped in a tensor": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "text": b"this is not a checkpoint\n" * 20,
        "an enormous header": b"\xff" * 64,
    }[name]


@pytest.mark.parametrize(
    "name",
    ["empty", "cut in the header", "cut in the tensors", "longer", "one bit flipped in a tensor", "text",
     "an enormous header"],
)  # fmt: skip
def test_refuses_a_damaged_file(tmp_path, trained, make_config, name):
    path = tmp_path / "c.safetensors"
    save(path, *trained)
    path.write_bytes(damage(name, path.read_bytes()))
    model, optimizer = fresh(make_config)
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        load_checkpoint(path, model, optimizer, identity=IDENTITY)
    assert "\n" not in str(caught.value)
    assert model.seen == 0


def test_refuses_what_is_missing_or_foreign(tmp_path, make_config):
    model, optimizer = fresh(make_config)
    with pytest.raises(CheckpointError, match="got none at"):
        load_checkpoint(tmp_path / "c.safetensors", model, optimizer, identity=IDENTITY)
    with pytest.raises(CheckpointError, match="got none at"):
        load_checkpoint(tmp_path, model, optimizer, identity=IDENTITY)
    save_file({"weight": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="another safetensors file"):
        load_checkpoint(tmp_path / "foreign.safetensors", model, optimizer, identity=IDENTITY)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"format": 9, "version": "7.0"}', "format 9 in '.*', written by maskwork 7.0; resume with that version"),
        ('{"format": 1, "version": "0.1.0", "step": "2"}', "its metadata is incomplete"),
        ("[]", "its metadata does not parse"),
        ("{", "its metadata does not parse"),
    ],
)
def test_refuses_another_header(tmp_path, make_config, header, message):
    save_file({"weight": torch.ones(1)}, tmp_path / "c.safetensors", {"maskwork_checkpoint": header})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c.safetensors", *fresh(make_config), identity=IDENTITY)


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, trained, monkeypatch):
    path = tmp_path / "c.safetensors"
    save(path, *trained)
    before = path.read_bytes()

    def full_disk(tensors, target, metadata):
        target.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr("maskwork.training._checkpoint.save_file", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device; make room and resume"):
        save(path, *trained)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_refuses_state_that_is_no_tensor(tmp_path, make_config):
    class Odd(Tied):
        def get_extra_state(self):
            return {"seen": 3}

    model = Odd()
    with pytest.raises(ArgumentError, match="got a dict in '_extra_state' of the state dict"):
        save(tmp_path / "c.safetensors", model, make_optimizer(model, make_config()))


def test_first_difference():
    assert first_difference({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}) is None
    assert first_difference({"a": 1}, {"a": 1, "b": None}) == ("b", "absent", "null")
    assert first_difference({"a": 1}, {"a": True}) == ("a", "1", "true")
    field, left, _ = first_difference({"rows": "f" * 64}, {"rows": "0" * 64})
    assert (field, left) == ("rows", "f" * 16 + "…")
