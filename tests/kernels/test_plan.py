"""Auto's choice: which implementation it takes, and what it says of the others."""

import sys

import pytest
import torch

import maskwork as mw
from maskwork.errors import CannotExpress
from maskwork.kernels import _call, _plan

CAUSAL = mw.causal()
LENGTH = 12


def tensors(length: int, *, dim: int = 8) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(2, heads, length, dim, generator=g) for heads in (4, 2, 2)]


def test_plan_names_one_and_says_of_each_other_why_not():
    q, k, v = tensors(2048, dim=16)
    asked = {
        "sdpa": [(mw.full(), {}), (None, {})],
        "tiled": [(CAUSAL & mw.sliding_window(64), {}), (CAUSAL, {"return_lse": True})],
    }
    for impl, calls in asked.items():
        for mask, kw in calls:
            plan = mw.plan(q, k, v, mask, **kw)
            assert plan.impl == impl
            assert {plan.impl, *plan.why_not} == {"reference", "sdpa", "tiled", "flex"}
            assert plan.impl not in plan.why_not
            assert all(plan.why_not.values())
    assert "float64" in mw.plan(*(x.double() for x in (q, k, v)), CAUSAL).why_not["flex"]
    wants_gradients = mw.plan(q.requires_grad_(), k, v, CAUSAL).why_not["flex"]
    assert "no backward pass" in wants_gradients


@pytest.mark.parametrize("length", [1, 64, 256, 512])
def test_small_problems_do_not_pay_for_tiles(length: int, monkeypatch: pytest.MonkeyPatch):
    def cut(*_: object) -> None:
        raise AssertionError("tiles were cut")

    monkeypatch.setattr(sys.modules["maskwork.kernels._tiled.attend"], "to_tiles", cut)
    q, k, v = tensors(length)
    for mask in (CAUSAL & mw.sliding_window(8), CAUSAL & mw.document([length])):
        assert mw.plan(q, k, v, mask).impl == "sdpa"
        mw.attention(q, k, v, mask)


def test_a_name_asked_for_never_falls_back_and_auto_explains():
    q, k, v = tensors(LENGTH)
    with pytest.raises(CannotExpress, match="log-sum-exp; impl='tiled' can"):
        mw.attention(q, k, v, return_lse=True, impl="sdpa")
    plan = mw.plan(q, k, v, mw.causal(), return_lse=True)
    assert plan.impl == "tiled"
    assert "log-sum-exp" in plan.why_not["sdpa"]
    assert plan.why_not["reference"] == "slower: dense, in float64"


def test_auto_never_goes_dense_above_its_budget(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_call, "MAX_DENSE", 100)
    q, k, v = tensors(LENGTH)
    assert mw.plan(q, k, v, mw.causal() & mw.sliding_window(3)).impl == "tiled"
    with pytest.raises(CannotExpress, match="no dense mask of more than 100 cells"):  # no tiles on this device
        mw.plan(q.to("meta"), k.to("meta"), v.to("meta"), mw.causal() & mw.sliding_window(3))
    mw.attention(q, k, v, mw.causal())  # needs no mask at all
    mw.attention(q, k, v, mw.causal() & mw.sliding_window(3), impl="sdpa")  # asked for by name


@pytest.mark.parametrize("length", [1, 64, 256, 300, 512, 600])
def test_small_calls_go_where_the_whole_rule_sends_them(length: int, monkeypatch: pytest.MonkeyPatch):
    """Below `SMALL_CELLS` the choice is made without asking every implementation; it must be the same one."""
    q, k, v = tensors(length)
    for mask in (None, CAUSAL, mw.full(), CAUSAL & mw.sliding_window(8), CAUSAL & mw.document([length]), mw.empty()):
        for return_lse in (False, True):
            quick = mw.plan(q, k, v, mask, return_lse=return_lse)
            with monkeypatch.context() as patch:
                patch.setattr(_plan, "SMALL_CELLS", 0)
                assert mw.plan(q, k, v, mask, return_lse=return_lse) == quick


def test_each_implementation_is_one_object_that_speaks_for_itself():
    assert list(_plan.IMPLEMENTATIONS) == ["flex", "tiled", "sdpa", "reference"]
    for name, implementation in _plan.IMPLEMENTATIONS.items():
        assert implementation.name == name
        assert implementation.slower
