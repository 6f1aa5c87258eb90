"""The audit of outputs of every kind: infinities, NaN, whole numbers, half precision, and how much may be rounding."""

from collections.abc import Callable

import pytest
import torch

import maskwork as mw
from maskwork.models import ModelConfig, Transformer
from maskwork.proof import Cause, plant
from maskwork.proof._probes.tolerance import tolerance
from maskwork.proof.zoo import Specimen, seeded, tokens

IDS = torch.randint(0, 20, (32,), generator=torch.Generator().manual_seed(1))


def make(width: int = 16, dtype: torch.dtype = torch.float32) -> Transformer:
    config = ModelConfig(vocab_size=20, layers=2, width=width, heads=4, kv_heads=2, hidden=width, context=64)
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model.to(dtype)


@pytest.mark.parametrize("value", [-torch.inf, torch.inf, torch.finfo(torch.float32).min, -1e9])
def test_a_masked_vocabulary_entry_is_no_leak_and_hides_none(value: float):
    def masked(model: Transformer) -> Transformer:
        def fill(module: object, args: object, out: torch.Tensor) -> torch.Tensor:
            out[..., 3] = value
            return out

        model.register_forward_hook(fill)
        return model

    honest = mw.audit(masked(make()), IDS)
    assert honest.ok, str(honest)
    assert set(honest.checks.values()) == {"clean"}
    for cause, check in (
        (Cause.NO_MASK, "mask"),
        (Cause.POSITIONS_NOT_RESTARTED, "packing"),
        (Cause.CACHE_MASK, "cache"),
    ):
        report = mw.audit(masked(plant(cause, make())), IDS, checks=[check])
        assert cause in [finding.cause for finding in report.findings], str(report)


def test_a_later_token_that_makes_an_infinity_is_a_leak():
    def model(ids: torch.Tensor) -> torch.Tensor:
        return torch.where(ids.sum(1, keepdim=True) != IDS.sum(), torch.inf, ids.cumsum(1).float())

    finding = mw.audit(model, IDS, checks=["mask"]).findings[0]
    assert finding.effect == torch.inf


def test_a_model_that_returns_nan_is_told_so():
    def some(ids: torch.Tensor) -> torch.Tensor:
        out = ids.cumsum(1).double().unsqueeze(-1)
        out[:, 5] = torch.nan
        return out

    report = mw.audit(some, IDS, checks=["mask"])
    assert not report.ok
    assert report.checks["mask"] == "warning"
    assert report.warnings["mask"] == "the model returns NaN at 1 of 32 positions, first at 5"
    report = mw.audit(lambda ids: some(ids) + ids.sum(1)[:, None, None], IDS, checks=["mask"])
    assert report.checks["mask"] == "leak"
    assert report.evidence["mask"].endswith("the model returns NaN at 1 of 32 positions, first at 5")
    broken = make()
    torch.nn.init.constant_(broken.norm.weight, torch.nan)
    report = mw.audit(broken, IDS)
    assert not report.ok
    assert all("returns NaN at 32 of 32" in report.warnings[check] for check in ("mask", "packing", "cache"))


KINDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "one number per position": lambda x: x,
    "integers": lambda x: x.long().unsqueeze(-1),
    "large integers": lambda x: x.long() + 2**60,
    "booleans": lambda x: x % 2 == 0,
    "complex": lambda x: torch.complex(torch.ones_like(x), x),
    "more axes": lambda x: x[..., None, None].expand(-1, -1, 2, 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_every_kind(kind: str):
    honest = mw.audit(lambda ids: KINDS[kind](ids.double().cumsum(1)), IDS, checks=["mask"])
    assert honest.ok, str(honest)
    leaky = mw.audit(lambda ids: KINDS[kind](ids.double().flip(1).cumsum(1).flip(1)), IDS, checks=["mask"])
    assert leaky.findings


def test_large_integers_are_compared_exactly():
    def model(ids: torch.Tensor) -> torch.Tensor:  # float64 cannot tell 2**60 from 2**60 + 1
        return ids.cumsum(1) + 2**60 + ids.roll(-1, 1) % 2

    assert mw.audit(model, IDS, checks=["mask"]).findings[0].pairs >= 20


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [16, 64])
def test_rounding_is_no_leak(width: int, dtype: torch.dtype):
    report = mw.audit(make(width, dtype), IDS, checks=["packing", "cache"])
    assert set(report.checks.values()) == {"clean"}, str(report)
    assert ("half precision" in report.evidence["cache"]) == (dtype.itemsize == 2)


def test_half_precision_weights_behind_float32_outputs_are_known():
    model = make(dtype=torch.bfloat16)
    model.register_forward_hook(lambda module, args, out: out.float())
    report = mw.audit(model, IDS, checks=["packing", "cache"])
    assert set(report.checks.values()) == {"clean"}, str(report)


@pytest.mark.parametrize("cause", [Cause.POSITIONS_NOT_RESTARTED, Cause.CACHE_MASK])
@pytest.mark.parametrize("width", [16, 64, 128])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_fault_is_caught_at_any_scale_of_the_outputs(scale: float, width: int, cause: Cause):
    for model, found in ((plant(cause, make(width)), [cause]), (make(width), [])):
        model.register_forward_hook(lambda module, args, out: out * scale)
        report = mw.audit(model, IDS, checks=["cache" if cause == Cause.CACHE_MASK else "packing"])
        assert [finding.cause for finding in report.findings] == found, str(report)


@pytest.mark.parametrize("cause", [Cause.POSITIONS_NOT_RESTARTED, Cause.CACHE_MASK])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_fault_is_caught_in_half_precision(dtype: torch.dtype, cause: Cause):
    report = mw.audit(plant(cause, make(64, dtype)), IDS, checks=["packing", "cache"])
    assert {finding.cause for finding in report.findings} == {cause}, str(report)


def test_outputs_that_do_not_vary_have_rounding_too():
    assert tolerance(torch.ones(1, 4), None) == tolerance(torch.ones(3, 4), None) > 0


@pytest.mark.parametrize("check", ["mask", "padding", "batch", "determinism"])
def test_nothing_but_nan_is_not_clean(check: str):
    model = seeded(Specimen, 0)
    model.head.bias.data.fill_(torch.nan)
    report = mw.audit(model, tokens(24, 0), checks=[check])
    assert report.checks == {check: "warning"}
    assert "NaN at" in report.warnings[check]
