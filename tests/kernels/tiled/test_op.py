"""The operators of tiles: one compiled graph for all masks, and the rules that torch has for operators."""

import pytest
import torch
import torch._dynamo.testing

import maskwork as mw
from helpers.tiled_cases import CAUSAL, LONG, MASKS, WINDOW, tensors
from maskwork.errors import CannotExpress
from maskwork.kernels._tiled.op import tiled_attention
from maskwork.kernels._tiled.schedule import to_tiles

# Where a graph breaks, dynamo looks at .grad of what crosses and hides the warning; here warnings are errors first.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def test_the_operator_of_tiles_is_one_graph_for_all_masks():
    """What docs/concepts.md says: no break, where the schedule is handed in as a tensor."""
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def block(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor) -> torch.Tensor:
        attend = torch.ops.maskwork.tiled_attention
        return attend(q * 2, k, v, schedule, None, False, 8**-0.5, 0.0, 0.0, None, False)[0].square()

    for mask in (CAUSAL, MASKS["window"], CAUSAL & (mw.sliding_window(7) | mw.sinks(3)), CAUSAL - mw.sinks(5)):
        qkv = [x.requires_grad_() for x in tensors(90, batch=1)]
        schedule = to_tiles(mask.bind(90))
        torch._dynamo.mark_dynamic(schedule, 0)
        out = block(*qkv, schedule)
        wanted = mw.attention(qkv[0] * 2, *qkv[1:], mask, impl="tiled").square()
        torch.testing.assert_close(out, wanted)
        grads = torch.autograd.grad(out.sum(), qkv), torch.autograd.grad(wanted.sum(), qkv)
        torch.testing.assert_close(*grads)
    assert counter.frame_count == 1


@pytest.mark.usefixtures("tiles")
def test_one_compilation_serves_every_mask():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    def block(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, schedule: torch.Tensor) -> torch.Tensor:
        return tiled_attention(q, k, v, schedule, None, False, 0.25, 0.0, 0.0, None, False)[0] * 2

    run = torch.compile(block, backend=backend, fullgraph=True)
    q, k, v = tensors(300, heads=2, dim=16)
    for mask in LONG.values():
        if mask.heads == 1:
            schedule = to_tiles(mask.bind(300, batch=2))
            torch._dynamo.mark_dynamic(schedule, 0)
            expected = mw.attention(q, k, v, mask, impl="reference") * 2
            torch.testing.assert_close(run(q, k, v, schedule), expected, rtol=1e-4, atol=1e-4)
    assert len(compiled) == 1


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [None, "transposed", "keys"])
def test_the_operators_keep_the_rules_of_operators(bias: str | None, dtype: torch.dtype):
    q, k, v = (x.to(dtype).requires_grad_() for x in tensors(20, dim=4))
    given = {
        None: None,
        "transposed": torch.randn(1, 4, 20, 20).mT.requires_grad_(),
        "keys": torch.randn(1, 1, 1, 20).to(dtype).requires_grad_(),
    }[bias]
    arguments = (q, k, v, to_tiles(WINDOW.bind(20)), given, False, 0.5, 0.0, 0.3, torch.tensor(3), True)
    forward = torch.ops.maskwork.tiled_attention
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(forward.default, arguments, test_utils=checks)
    out, lse = (x.detach() for x in forward(*arguments))
    plain = [x.detach() if isinstance(x, torch.Tensor) else x for x in arguments]
    backward = (out, lse, *plain[:3], out, lse, *plain[3:10], given is not None)
    torch.library.opcheck(torch.ops.maskwork.tiled_attention_backward.default, backward, test_utils=checks)


@pytest.mark.usefixtures("tiles")
def test_one_compilation_serves_every_schedule():
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    forward = torch.ops.maskwork.tiled_attention
    compiled = torch.compile(
        lambda q, k, v, s: forward(q * 2, k, v, s, None, False, 0.5, 0.0, 0.0, None, False)[0] + 1,
        backend=counter,
        fullgraph=True,
    )
    for name in ("window", "sinks", "dilated", "holes", "documents", "heads"):
        q, k, v = (x.requires_grad_() for x in tensors())
        out = compiled(q, k, v, to_tiles(MASKS[name].bind(150)))
        torch.testing.assert_close(out, mw.attention(q * 2, k, v, MASKS[name], scale=0.5, impl="tiled") + 1)
        out.sum().backward()
    assert counter.frame_count <= 2  # one more where the schedule's size turns out to vary


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_the_operator_itself_drops_no_tangent():
    """Whoever calls the operator without `attention`, as an exported program does, is refused too."""
    x = torch.randn(1, 1, 8, 4)
    schedule = to_tiles(mw.causal().bind(8))

    def out(v: torch.Tensor) -> torch.Tensor:
        return tiled_attention(x, x, v, schedule, None, False, 1.0, 0.0, 0.0, None, False)[0]

    with torch.autograd.forward_ad.dual_level(), pytest.raises(CannotExpress, match="got jvp; use"):
        out(torch.autograd.forward_ad.make_dual(x, x))
    for transform in (lambda: torch.func.jvp(out, (x,), (x,)), lambda: torch.func.grad(lambda v: out(v).sum())(x)):
        with pytest.raises(CannotExpress, match="has no rule for torch's transforms"):
            transform()
