"""Causes that look alike are told apart: an open head of many from a weak mask, at any width, depth and precision."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import maskwork as mw
from maskwork.proof.zoo import seeded, tokens

LENGTH, LAYERS = 16, 2
IDS = tokens(LENGTH, 0)
CAUSAL = torch.ones(LENGTH, LENGTH).tril().bool()

#: The forbidden cells' number in each head, float (H,).
Fault = Callable[[int], torch.Tensor]


class Decoder(nn.Module):
    """Causal attention of any width; in one layer the forbidden cells hold what `fault` says."""

    def __init__(self, width: int, heads: int, layer: int, fault: Fault) -> None:
        super().__init__()
        self.embedding = nn.Embedding(61, width)
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(LAYERS))
        honest = torch.full((heads,), -torch.inf)
        self.values = [fault(heads) if i == layer else honest for i in range(LAYERS)]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for values, norm, attention in zip(self.values, self.norms, self.attention, strict=True):
            bias = torch.where(CAUSAL, 0.0, values[:, None, None]).to(x.dtype).repeat(len(x), 1, 1)
            y = norm(x)
            x = x + attention(y, y, y, attn_mask=bias, need_weights=False)[0]
        return x


def only(head: int, value: float) -> Fault:
    def fault(heads: int) -> torch.Tensor:
        return torch.where(torch.arange(heads) == head, value, -torch.inf)

    return fault


def every(value: float) -> Fault:
    return lambda heads: torch.full((heads,), value)


def found(model: nn.Module) -> tuple[str | None, mw.Cause | None]:
    findings = mw.audit(model, IDS, checks=["mask"]).findings
    return (findings[0].module, findings[0].cause) if findings else (None, None)


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize(("width", "heads"), [(32, 4), (256, 4)])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (only(1, 0.0), mw.Cause.NO_MASK),
        (only(0, -1.0), mw.Cause.MASK_VALUE_TOO_SMALL),
        (only(1, -100.0), mw.Cause.MASK_VALUE_TOO_SMALL),
        (every(0.0), mw.Cause.NO_MASK),
        (every(-1.0), mw.Cause.MASK_VALUE_TOO_SMALL),
    ],
    ids=["one head open", "one head -1", "one head -100", "no mask", "-1"],
)
def test_an_open_head_is_not_a_weak_mask(width: int, heads: int, layer: int, fault: Fault, cause: mw.Cause):
    assert found(seeded(lambda: Decoder(width, heads, layer, fault), 0)) == (f"attention.{layer}", cause)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("value", [-1.0, -100.0])
def test_a_weak_mask_is_named_in_every_precision(value: float, dtype: torch.dtype):
    model = seeded(lambda: Decoder(64, 4, 1, every(value)), 0).to(dtype)
    assert found(model) == ("attention.1", mw.Cause.MASK_VALUE_TOO_SMALL)


def test_a_number_whose_exponential_is_zero_masks_as_well_as_minus_infinity():
    assert found(seeded(lambda: Decoder(64, 4, 1, every(-1e4)), 0).bfloat16()) == (None, None)


class Stubborn(nn.MultiheadAttention):
    """Refuses every dtype but one, as kernels do."""

    only: torch.dtype

    def forward(self, query: torch.Tensor, *args: torch.Tensor, **named: object) -> object:  # type: ignore[override]
        if query.dtype != self.only:
            raise TypeError(f"only {self.only}")
        return super().forward(query, *args, **named)  # type: ignore[arg-type]


def stubborn(fault: Fault, dtype: torch.dtype) -> nn.Module:
    model = seeded(lambda: Decoder(64, 4, 1, fault), 0).to(dtype)
    for attention in model.attention:
        attention.__class__, attention.only = Stubborn, dtype
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_float64_is_refused_the_report_says_what_judged(dtype: torch.dtype):
    name = str(dtype).removeprefix("torch.")
    clean = mw.audit(stubborn(every(-torch.inf), dtype), IDS, checks=["mask"])
    assert clean.ok, str(clean)
    assert f"by gradients in {name} in 2 that refuse float64 (attention.0)" in clean.evidence["mask"]
    weak = mw.audit(stubborn(every(-1.0), dtype), IDS, checks=["mask"]).findings[0]
    assert weak.cause == mw.Cause.MASK_VALUE_TOO_SMALL
    assert f"it refuses float64, so its gradients are in {name}" in weak.evidence


def test_modules_that_give_no_gradients_are_judged_by_bits_and_the_report_says_so():
    class Detached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(x.detach().numpy().cumsum(1))

    model = nn.Sequential(nn.Embedding(61, 8), Detached())
    report = mw.audit(model, IDS, checks=["mask"])
    assert report.ok, str(report)
    assert "by bits alone in 1 that give no gradients (1)" in report.evidence["mask"]
