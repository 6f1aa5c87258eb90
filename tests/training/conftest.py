"""A tiny model, tiny rows and a short configuration, shared by the tests of training."""

import numpy as np
import pytest
import torch

from maskwork.data import pack
from maskwork.models import ModelConfig, Transformer
from maskwork.training import RunFolder, TrainConfig

VOCABULARY, CONTEXT = 17, 12
SHAPE = ModelConfig(vocab_size=VOCABULARY, layers=2, width=16, heads=2, kv_heads=1, hidden=24, context=CONTEXT)


@pytest.fixture(scope="session")
def make_model():
    def make(seed=0):
        model = Transformer(SHAPE)
        model.init_weights(torch.Generator().manual_seed(seed))
        return model

    return make


@pytest.fixture(scope="session")
def rows():
    """Rows with documents of uneven length, so that their scored counts differ."""
    rng = np.random.default_rng(0)
    sizes = (12, 9, 3, 2, 7, 5, 11, 4, 2, 2, 6)
    documents = [rng.integers(0, VOCABULARY, size=size).tolist() for size in sizes]
    return list(pack(documents, CONTEXT, "sequential"))


@pytest.fixture(scope="session")
def make_config():
    def make(**changes):
        values = {"steps": 6, "batch_rows": 2, "learning_rate": 3e-3, "warmup_steps": 2}
        return TrainConfig(**values | {"eval_every": 0, "save_every": 0, "log_every": 1} | changes)

    return make


@pytest.fixture(scope="session")
def make_run_at():
    def make(folder, config):
        sections = {"model": SHAPE.to_dict(), "train": config.to_dict(), "data": {"digest": "2f"}}
        return RunFolder.create(folder, sections)

    return make


@pytest.fixture
def make_run(tmp_path, make_run_at):
    return lambda config, name="run": make_run_at(tmp_path / name, config)
