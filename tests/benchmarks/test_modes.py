"""Under each of torch's modes attention is right or refused by name, and the same mask right in eager afterwards."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import maskwork as mw

# torch loads its forward-mode decompositions with a function of its own that it has deprecated.
# SDPA's backward pass, which jacrev maps over, is right there and slower.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script", "ignore:There is a performance drop")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

IMPLEMENTATIONS = ("auto", "reference", "sdpa", "tiled")
FORMS = ("unbound", "bound", "precomputed")
QUICK = (
    "eager", "eager, gradient", "inference", "fake tensors", "func.grad", "vmap", "vmap(grad)", "jvp", "forward_ad",
    "autocast", "checkpoint", "default device cpu", "default device meta", "default device meta, gradient",
    "default dtype float64",
    "default dtype bfloat16", "jacfwd", "jacrev", "hessian", "jacfwd(grad)",
)  # fmt: skip
TRACED = ("export", "export strict", "compile", "compile fullgraph")
#: What an implementation refuses; `auto` and `reference` refuse nothing there.
REFUSED = {
    "sdpa": {"vmap", "vmap(grad)", "jvp", "forward_ad", "jacfwd", "hessian", "jacfwd(grad)"},
    "tiled": {
        "func.grad", "vmap", "vmap(grad)", "jvp", "forward_ad", "jacfwd", "jacrev", "hessian", "jacfwd(grad)",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def modes() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import modes

        yield modes
        sys.modules.pop("modes")


def expect(mode: str, impl: str, form: str) -> str:
    needs_a_graph = mode in ("export strict", "compile fullgraph")
    return "refused" if mode in REFUSED.get(impl, ()) or (needs_a_graph and form == "unbound") else "right"


def test_no_mode_is_left_out(modes: ModuleType):
    assert {*QUICK, *TRACED} == modes.ALL.keys()
    assert modes.IMPLEMENTATIONS == IMPLEMENTATIONS
    x = torch.zeros(1, modes.HEADS, modes.LENGTH, modes.WIDTH)
    assert mw.plan(x, x, x, modes.MASK).impl == "tiled", "auto must have something to fall back from"


@pytest.mark.parametrize("mode", QUICK)
def test_right_or_refused(modes: ModuleType, mode: str):
    for impl in IMPLEMENTATIONS:
        for form in FORMS:
            outcome = modes.outcome(mode, impl, form)
            assert outcome.split(":")[0] == expect(mode, impl, form), (impl, form, outcome)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("mode", "impl", "form"),
    [
        pytest.param(
            mode, impl, form,
            # each takes a second; one of a kind is enough in the fast suite
            marks=() if (impl, form) == ("auto", "bound") and mode != "compile" else pytest.mark.slow,
        )
        for mode in TRACED for impl in IMPLEMENTATIONS for form in FORMS
    ],
)  # fmt: skip
def test_right_or_refused_when_traced(modes: ModuleType, mode: str, impl: str, form: str):
    outcome = modes.outcome(mode, impl, form)
    assert outcome.split(":")[0] == expect(mode, impl, form), outcome


def test_the_first_tiled_call_imports_no_compiler(modes: ModuleType):
    assert modes.first_tiled_call()[1] is False
