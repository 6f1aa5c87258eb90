"""The check `batch`: rows that change each other, earlier calls, and randomness that is no leak."""

import pytest
import torch

import maskwork as mw
from helpers.wrapped_specimen import WrappedSpecimen
from maskwork.proof.zoo import tokens

IDS = tokens(24, 0)


def audit(model, *checks, ids=IDS):
    return mw.audit(model, ids, checks=checks)


def test_randomness_is_no_leak_between_rows():
    generator = torch.Generator().manual_seed(0)

    def noisy(scale):
        return lambda model, ids, run: run(ids) + scale * torch.rand(*ids.shape, 1, generator=generator)

    assert audit(WrappedSpecimen(noisy(1e-6)), "batch").ok
    assert "two equal calls differ" in audit(WrappedSpecimen(noisy(1.0)), "batch").checks["batch"]


def test_what_an_earlier_call_left_behind():
    def remembers(model, ids, run):
        out = run(ids)
        before, model.last = getattr(model, "last", out.new_zeros(())), out.mean()
        return out + before

    model = WrappedSpecimen(remembers)
    finding = audit(model, "batch").findings[0]
    assert "an earlier call" in finding.evidence
    assert not hasattr(model, "last")


def test_the_first_row_decides_for_all():
    report = audit(WrappedSpecimen(lambda model, ids, run: run(ids) * (1 + ids[0, 0] % 2)), "batch")
    assert report.checks["batch"] == "leak"
    assert report.findings[0].module == ""


@pytest.mark.parametrize("named", [True, False])
def test_rows_that_mix_are_no_leak_between_positions(named: bool):
    class RowMean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0, keepdim=True)

    class Model(torch.nn.Module):
        def __init__(self, leak: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.leak = torch.nn.Embedding(50, 16), leak
            self.mix = RowMean() if named else None
            self.head = torch.nn.Linear(16, 50)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embedding(ids)
            x = x - x.mean(0, keepdim=True) if self.mix is None else self.mix(x)
            x = x.cumsum(1) + (x.roll(-1, 1) if self.leak else 0)
            return self.head(x)

    report = mw.audit(Model(leak=False), torch.arange(1, 25), mw.causal(), checks=["mask", "batch"], layers=1)
    assert dict(report.checks) == {"mask": "clean", "batch": "leak"}, str(report)
    assert "rows of a batch change each other" in str(report)
    report = mw.audit(Model(leak=True), torch.arange(1, 25), mw.causal(), checks=["mask"], layers=1)
    assert report.checks["mask"] == "leak"
