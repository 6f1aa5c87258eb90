"""`torch.compile` around attention: the graph breaks where the mask is looked up, and what comes out is the same."""

import pytest
import torch
import torch._dynamo.testing

import maskwork as mw
from maskwork.kernels._tiled.schedule import to_tiles

# Where a graph breaks, dynamo looks at .grad of what crosses and hides the warning; here warnings are errors first.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

CAUSAL = mw.causal()
MASKS = (CAUSAL, CAUSAL & mw.sliding_window(24), CAUSAL & (mw.sliding_window(7) | mw.sinks(3)), CAUSAL - mw.sinks(5))


def tensors() -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(1, h, 90, 8, generator=g, requires_grad=True) for h in (4, 2, 2)]


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


@pytest.mark.parametrize("impl", ["reference", "sdpa", "tiled", "auto"])
@pytest.mark.parametrize("bound", [False, True])
def test_compiled_code_that_calls_it_computes_the_same(bound: bool, impl: str):
    def block(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: mw.Mask | mw.BoundMask) -> torch.Tensor:
        return mw.attention(q * 2, k, v, mask, impl=impl).square()

    compiled = torch.compile(block, backend="aot_eager")
    for mask in MASKS:
        given = mask.bind(90) if bound else mask
        qkv = tensors()
        out, wanted = compiled(*qkv, given), block(*qkv, given)
        torch.testing.assert_close(out, wanted)
        grads = torch.autograd.grad(out.sum(), qkv), torch.autograd.grad(wanted.sum(), qkv)
        torch.testing.assert_close(*grads)


def test_a_mask_lowered_before_breaks_no_graph():
    """What docs/concepts.md says: the mask comes in bound and lowered, and whole tensors are its only data."""
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def block(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: mw.BoundMask) -> torch.Tensor:
        return mw.attention(q * 2, k, v, mask, impl="tiled").square()

    for mask in (*MASKS, CAUSAL & mw.sliding_window(11), CAUSAL & mw.document([50, 40])):
        bound = mask.bind(90)
        to_tiles(bound)
        qkv = tensors()
        out = block(*qkv, bound)
        wanted = mw.attention(qkv[0] * 2, *qkv[1:], bound, impl="tiled").square()
        torch.testing.assert_close(out, wanted)
        torch.testing.assert_close(torch.autograd.grad(out.sum(), qkv), torch.autograd.grad(wanted.sum(), qkv))
    assert counter.frame_count <= 2, "once, and once more as soon as schedules differ in length"
