"""The whole model by gradients: flow too weak for any bit is found and placed; disagreement with bits is settled."""

import pytest
import torch
from torch import nn

import maskwork as mw
from maskwork.proof.zoo import Output, Specimen, seeded, tokens

IDS = tokens(20, 0)


def later(x: torch.Tensor) -> torch.Tensor:
    """What lies ahead of each position, summed."""
    return x.flip(1).cumsum(1).flip(1) - x


class Faint(Specimen):
    """Between its modules a trace of the future is added, far below float32's last place."""

    def forward(self, *args: object, **named: object) -> Output:  # type: ignore[override]
        out = super().forward(*args, **named)  # type: ignore[arg-type]
        return Output(out.logits + 1e-30 * later(out.logits))


def test_a_flow_between_modules_that_no_substitution_shows_is_found_by_gradients():
    report = mw.audit(seeded(Faint, 0), IDS, checks=["mask"])
    assert "3 modules that mix positions judged one step" in report.evidence["mask"]
    assert "no output changes by a bit" in report.evidence["mask"]
    finding = report.findings[0]
    assert (finding.module, finding.cause, finding.pairs) == ("", mw.Cause.MIXES_OUTSIDE_ATTENTION, 190)
    assert 0 < finding.effect < 1e-25
    assert "no bit changes, but the gradient in float64 is not 0" in finding.evidence


def test_of_an_honest_model_every_forbidden_gradient_is_zero():
    report = mw.audit(seeded(Specimen, 0), IDS, checks=["mask"])
    assert report.ok, str(report)
    assert "its gradients in float64 at 19 outputs: all forbidden ones are 0" in report.evidence["mask"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_embeddings_and_functions_have_gradients_too(dtype: torch.dtype):
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert "at 11 outputs: all forbidden" in mw.audit(lambda e: e.cumsum(1), x, checks=["mask"]).evidence["mask"]
    report = mw.audit(lambda e: e.cumsum(1) + 1e-30 * later(e), x, checks=["mask"])
    assert "no bit changes" in report.findings[0].evidence
    assert report.findings[0].pairs == 66


def test_a_zero_gradient_does_not_clear_a_difference():
    """Where the last token is compared, bits change and gradients do not."""

    class Choice(Specimen):
        def forward(self, input_ids: torch.Tensor, **named: object) -> Output:  # type: ignore[override]
            out = super().forward(input_ids, **named)  # type: ignore[arg-type]
            return Output(out.logits + (input_ids[:, -1:, None] == IDS[-1]))

    finding = mw.audit(seeded(Choice, 0), IDS, checks=["mask"]).findings[0]
    assert finding.module == ""
    assert "there is 0: the choice is discrete" in finding.evidence


def test_a_gradient_that_cancels_but_for_rounding_is_no_leak():
    class Cancels(Specimen):
        def forward(self, *args: object, **named: object) -> Output:  # type: ignore[override]
            logits = super().forward(*args, **named).logits  # type: ignore[arg-type]
            ahead = later(logits)
            # The future is added and taken away again in another order: exact in the outputs, not in the gradients.
            return Output(logits + (ahead * 0.1 - ahead * 0.3 + ahead * 0.2) * 1e-9)

    report = mw.audit(seeded(Cancels, 0), IDS, checks=["mask"])
    assert report.checks["mask"] == "clean", str(report)
    assert "settled as rounding" in report.evidence["mask"]


def test_a_model_that_embeds_in_a_way_of_its_own_says_so():
    class OneHot(nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot(ids, 61).float().cumsum(1)

    report = mw.audit(OneHot(), IDS, checks=["mask"])
    assert report.ok, str(report)
    assert "of the whole no gradients can be taken" in report.evidence["mask"]
