"""`train`: the gradient it takes, that it repeats bit for bit, and what it refuses."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from maskwork.data import PackedRow
from maskwork.errors import ArgumentError, RunError
from maskwork.objectives import CausalLM, masked_cross_entropy
from maskwork.training import RunFolder, learning_rate, rows_of_step, train
from maskwork.training._optimizer import make_optimizer


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def without_timing(records):
    return [{key: value for key, value in record.items() if key != "timing"} for record in records]


def gradient_of_first_step(model, rows, config):
    train(model, rows, CausalLM(), config)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_accumulating_equals_one_large_batch_although_scored_counts_differ(make_model, rows, make_config):
    whole = make_config(steps=1, batch_rows=4, clip=0, warmup_steps=0)
    parts = make_config(steps=1, batch_rows=1, accumulate=4, clip=0, warmup_steps=0)
    chosen = [rows[i] for i in rows_of_step(len(rows), 4, 0, 0)]
    counts = [CausalLM()([row]).n_targets for row in chosen]
    assert len(set(counts)) > 1

    in_one = gradient_of_first_step(make_model(), rows, whole)
    in_four = gradient_of_first_step(make_model(), rows, parts)
    # Equal up to the order of float32 additions; a mean of the parts' means is far outside of that.
    torch.testing.assert_close(in_four, in_one, rtol=1e-4, atol=1e-7)

    model = make_model()
    for row in chosen:
        batch = CausalLM()([row])
        logits = model(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)
        (masked_cross_entropy(logits, batch.targets).loss / 4).backward()
    mean_of_means = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert (mean_of_means - in_one).norm() > 100 * (in_four - in_one).norm()


def test_a_step_is_adamw_on_the_mean_over_scored_tokens(make_model, rows, make_config):
    config = make_config(steps=3, clip=0.5, warmup_steps=1)
    model, expected = make_model(), make_model()
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in expected.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in expected.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
        foreach=False,
    )
    reports = []
    train(model, rows, CausalLM(), config, on_step=reports.append)
    for step, report in enumerate(reports):
        batch = CausalLM()([rows[i] for i in rows_of_step(len(rows), 2, 0, step)])
        logits = expected(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.step()
        assert report.loss == pytest.approx(loss.item(), rel=1e-5)
        assert report.grad_norm == pytest.approx(norm.item(), rel=1e-4)
        assert report.learning_rate == learning_rate(step, config)
    assert reports[0].grad_norm > 0.5  # so that clipping was put to work
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected.get_parameter(name), rtol=1e-4, atol=1e-6)


def test_gains_and_biases_do_not_decay(make_model, make_config):
    model = make_model()
    model.norm.weight.requires_grad_(False)
    groups = make_optimizer(model, make_config(weight_decay=0.3)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert all(p.ndim >= 2 for p in groups[0]["params"])
    assert all(p.ndim < 2 for p in groups[1]["params"])
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters()} - {id(model.norm.weight)}


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_clip(make_model, rows, make_config, clip):
    reports = []
    model = make_model()
    train(model, rows, CausalLM(), make_config(steps=1, warmup_steps=0, clip=clip), on_step=reports.append)
    after = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
    assert after == pytest.approx(clip or reports[0].grad_norm, rel=1e-3)
    assert reports[0].grad_norm > 0.01


def test_repeats_bit_for_bit_and_the_seed_matters(make_model, rows, make_config, make_run):
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = make_config(seed=seed, accumulate=2, save_every=3)
        model, run = make_model(), make_run(config, name)
        train(model, rows, CausalLM(), config, run=run, validate=lambda model: {"x": 1.0})
        results.append((weights(model), without_timing(run.metrics()), run))
    (first, first_metrics, run), (second, second_metrics, other_run), (third, third_metrics, _) = results
    assert equal(first, second)
    assert first_metrics == second_metrics
    assert run.checkpoint_path.read_bytes() == other_run.checkpoint_path.read_bytes()
    assert run.model_path.read_bytes() == other_run.model_path.read_bytes()
    assert not equal(first, third)
    assert first_metrics != third_metrics


class WithDropout(nn.Module):
    """Draws from PyTorch's global generator in every step."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.dropout = inner, nn.Dropout(0.2)

    def forward(self, ids, *, mask, position_ids):
        return self.dropout(self.inner(ids, mask=mask, position_ids=position_ids))


def test_dropout_repeats_and_global_generators_are_left_alone(make_model, rows, make_config):
    results = []
    for seed in (1, 2):  # the global generator's own state doesn't reach the run
        torch.manual_seed(seed)
        model = WithDropout(make_model())
        before = torch.get_rng_state()
        train(model, rows, CausalLM(), make_config())
        assert torch.equal(torch.get_rng_state(), before)
        results.append(weights(model))
    assert equal(*results)
    plain = make_model()
    train(plain, rows, CausalLM(), make_config())
    assert not torch.equal(plain.embedding.weight, model.inner.embedding.weight)


def test_learns(make_model, make_config):
    rows = [PackedRow(np.array([1, 2, 3, 4, 5, 6] * 2), (12,), 0)] * 2
    result = train(make_model(), rows, CausalLM(), make_config(steps=60, learning_rate=0.03))
    assert result.loss < 0.3 < math.log(17)
    assert (result.steps, result.tokens, result.resumed_from) == (60, 60 * 24, 0)
    assert result.validation is None


def test_reports_and_metrics(make_model, rows, make_config, make_run):
    config = make_config(steps=7, eval_every=3, log_every=2)
    run, reports, validated = make_run(config), [], []

    def validate(model):
        model.eval()  # a careless one, that doesn't put the mode back
        validated.append(len(reports))
        return {"bits_per_byte": 3.0 - len(validated)}

    result = train(make_model(), rows, CausalLM(), config, run=run, validate=validate, on_step=reports.append)
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6, 7]
    assert validated == [2, 5, 6]  # before the reports of steps 3, 6 and 7
    assert [report.validation for report in reports[1:4]] == [
        None,
        {"bits_per_byte": 2.0},
        {"bits_per_byte": 2.0},
    ]
    assert result.validation == {"bits_per_byte": 0.0}
    assert all(report.steps == 7 and report.tokens_per_second > 0 for report in reports)
    assert reports[-1].seconds_left == 0 < reports[0].seconds_left

    per_step = [
        sum(sum(rows[i].lengths) - rows[i].padding for i in rows_of_step(len(rows), 2, 0, step)) for step in range(7)
    ]
    assert [report.tokens for report in reports] == np.cumsum(per_step).tolist()

    metrics = run.metrics()
    assert [record["step"] for record in metrics if "loss" in record] == [1, 2, 4, 6, 7]
    assert [record["step"] for record in metrics if "validation" in record] == [3, 6, 7]
    assert all(set(record) - {"timing"} for record in metrics)
    assert all("timing" in record for record in metrics)
    logged = {record["step"]: record for record in metrics if "loss" in record}
    assert logged[4]["loss"] == reports[3].loss
    assert logged[4]["tokens"] == reports[3].tokens
    assert run.load_model().training is True  # a fresh module, holding the final weights


def test_saves_a_model_that_can_be_loaded(make_model, rows, make_config, make_run):
    config = make_config()
    model, run = make_model(), make_run(config)
    train(model, rows, CausalLM(), config, run=run)
    assert equal(weights(model), weights(RunFolder.open(run.path).load_model()))
    run.model_path.unlink()  # as after a run that was broken off
    assert equal(weights(model), weights(run.load_model()))
    names = sorted(entry.name for entry in run.path.iterdir())
    assert names == ["checkpoint.safetensors", "config.json", "metrics.jsonl"]


def test_trains_in_training_mode_even_when_given_otherwise(make_model, rows, make_config):
    model = make_model().eval()
    modes = []
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    train(model, rows, CausalLM(), make_config(steps=2))
    assert modes == [True, True]


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_stops_at_a_number_that_is_not_finite(make_model, rows, make_config, make_run, poison):
    config = make_config(save_every=2)
    model, run, steps = make_model(), make_run(config), []
    at_step_4 = {}

    def spoil(module, _, logits):
        if len(steps) < 3:
            return logits
        at_step_4.update(weights(model))
        if poison == "loss":
            return logits * float("inf")
        logits.register_hook(lambda grad: grad * float("nan"))
        return logits

    model.register_forward_hook(spoil)
    with pytest.raises(
        RunError, match=r"got .* in step 4 at .* \(the checkpoint is of step 2\); lower learning_rate"
    ) as caught:
        train(model, rows, CausalLM(), config, run=run, on_step=steps.append)
    assert "\n" not in str(caught.value)
    assert equal(weights(model), at_step_4)
    run.load_model()  # the checkpoint is whole


def test_says_when_nothing_was_saved_yet(make_model, rows, make_config):
    with pytest.raises(RunError, match="there is no checkpoint yet"):
        train(make_model(), rows, CausalLM(), make_config(learning_rate=1e30))


def test_a_validation_that_is_not_finite_is_refused(make_model, rows, make_config, make_run):
    config = make_config()
    with pytest.raises(ArgumentError, match="finite numbers"):
        train(
            make_model(),
            rows,
            CausalLM(),
            config,
            run=make_run(config),
            validate=lambda _: {"x": float("nan")},
        )


def test_refuses(make_model, rows, make_config, make_run):
    config = make_config()
    with pytest.raises(ArgumentError, match="at least one row"):
        train(make_model(), [], CausalLM(), config)
    with pytest.raises(ArgumentError, match="resume=True without run"):
        train(make_model(), rows, CausalLM(), config, resume=True)
    frozen = make_model().requires_grad_(False)
    with pytest.raises(ArgumentError, match="a parameter with requires_grad"):
        train(frozen, rows, CausalLM(), config)
    run = make_run(config)
    train(make_model(), rows, CausalLM(), config, run=run)
    before = run.metrics_path.read_bytes(), run.checkpoint_path.read_bytes()
    with pytest.raises(RunError, match="has begun; resume it or give another folder"):
        train(make_model(), rows, CausalLM(), config, run=run)
    assert before == (run.metrics_path.read_bytes(), run.checkpoint_path.read_bytes())


def test_a_step_with_nothing_to_score_is_named(make_model, make_config):
    alone = [PackedRow(np.arange(12), (1,) * 12, 0)]
    with pytest.raises(RunError, match="got 2 rows without one in step 1"):
        train(make_model(), alone, CausalLM(), make_config())


def test_weights_of_a_batch_count(make_model, rows, make_config):
    """A weight of 0 is the same as no target, and the denominator is the sum of weights."""

    def half(some, generator=None):
        batch = CausalLM()(some)
        keep = torch.arange(batch.targets.shape[1]) % 2 == 0
        return dataclasses.replace(batch, weights=batch.weights * keep * 0.25)

    def half_unscored(some, generator=None):
        batch = CausalLM()(some)
        keep = torch.arange(batch.targets.shape[1]) % 2 == 0
        return dataclasses.replace(batch, targets=batch.targets.where(keep, -100), weights=batch.weights * keep)

    losses = []
    for objective in (half, half_unscored):
        reports = []
        train(make_model(), rows, objective, make_config(steps=3), on_step=reports.append)
        losses.append([report.loss for report in reports])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
