"""`evaluate` against a plain sum of log-probabilities."""

import math

import pytest
import torch
from torch import nn

from maskwork.errors import ArgumentError
from maskwork.objectives import CausalLM
from maskwork.training import bits_per_byte, evaluate


def test_is_the_sum_of_each_targets_nats(make_model, rows):
    model = make_model()
    nats, targets = 0.0, 0
    with torch.no_grad():
        for row in rows:
            for document in row.documents:
                ids = torch.tensor(document)[None]
                log_p = model(ids).double().log_softmax(-1)[0, :-1]
                nats -= log_p.gather(1, ids[0, 1:, None]).sum().item()
                targets += len(document) - 1
    for batch_rows in (1, 2, 100):
        result = evaluate(model, rows, CausalLM(), batch_rows)
        assert result.targets == targets
        assert result.nats == pytest.approx(nats, rel=1e-5)
        assert result.nats_per_target == pytest.approx(nats / targets, rel=1e-5)


def test_restores_every_submodules_mode_even_after_an_error(make_model, rows):
    model = make_model().train()
    model.blocks[0].eval()  # frozen, as a fine-tune would have it
    seen = []

    def look(module, _):
        seen.append((module.training, torch.is_grad_enabled()))

    hook = model.register_forward_pre_hook(look)
    evaluate(model, rows, CausalLM(), 2)
    assert set(seen) == {(False, False)}
    assert (model.training, model.blocks[0].training, model.blocks[1].training) == (True, False, True)
    hook.remove()

    def fails(module, _):
        raise RuntimeError("no")

    model.register_forward_pre_hook(fails)
    with pytest.raises(RuntimeError, match="no"):
        evaluate(model, rows, CausalLM(), 2)
    assert model.training


def test_anything_random_in_the_objective_is_seeded(make_model, rows):
    drawn = []

    def objective(some, generator=None):
        drawn.append(torch.rand((), generator=generator).item())
        return CausalLM()(some)

    evaluate(make_model(), rows, objective, 2)
    first, drawn[:] = list(drawn), []
    evaluate(make_model(), rows, objective, 2)
    assert drawn == first
    assert len(set(first)) == len(first) > 1


def test_refuses_nothing(make_model, rows):
    with pytest.raises(ArgumentError, match="got none in 0 rows"):
        evaluate(make_model(), [], CausalLM(), 2)
    with pytest.raises(ArgumentError, match="batch_rows must be at least 1"):
        evaluate(make_model(), rows, CausalLM(), 0)


def test_a_model_without_parameters_stands_on_the_cpu(rows):
    class Uniform(nn.Module):
        def forward(self, ids, *, mask, position_ids):
            return torch.zeros(*ids.shape, 17)

    assert evaluate(Uniform(), rows, CausalLM(), 3).nats_per_target == pytest.approx(math.log(17), rel=1e-6)


def test_bits_per_byte():
    # A uniform guess over 256 values costs 8 bits a byte.
    assert bits_per_byte(1000 * math.log(256), 1000) == pytest.approx(8.0)
    with pytest.raises(ArgumentError, match="n_bytes must be at least 1"):
        bits_per_byte(1.0, 0)
