"""FlexAttention keeps attention's laws. What compiles is slow; what is refused is refused without compiling."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

import maskwork as mw
from maskwork.errors import CannotExpress
from maskwork.kernels import _flex

MISSING = _flex._no_cpu_kernel()
compiles = pytest.mark.skipif(MISSING is not None, reason=f"FlexAttention cannot run here: {MISSING}")

# inductor's own import trips over a deprecation of torch's own
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")

BATCH, LENGTH = 2, 300


def tensors(q_len: int = LENGTH, kv_len: int = LENGTH, *, v_dim: int = 8, dtype: torch.dtype = torch.float32):
    g = torch.Generator().manual_seed(0)
    q = torch.randn(BATCH, 4, q_len, 8, generator=g)
    k, v = torch.randn(BATCH, 2, kv_len, 8, generator=g), torch.randn(BATCH, 2, kv_len, v_dim, generator=g)
    return tuple(x.to(dtype) for x in (q, k, v))


def assert_matches(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: mw.Mask, q_start: int | None = None):
    out = mw.attention(q, k, v, mask, q_start=q_start, impl="flex")
    expected = mw.attention(q.double(), k.double(), v.double(), mask, q_start=q_start, impl="reference")
    # sums of at most 300 terms of size about 1; the inputs carry their dtype's rounding, the kernel works in float32
    tolerance = 32 * torch.finfo(q.dtype).eps
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def test_what_it_cannot_do_is_said_plainly(monkeypatch: pytest.MonkeyPatch):
    q, k, v = tensors(8, 8)
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    with pytest.raises(CannotExpress, match=r"takes no bias; impl='tiled' can"):
        mw.attention(q, k, v, mw.causal(), bias=torch.zeros(8, 8), impl="flex")
    with pytest.raises(CannotExpress, match="has no dropout"):
        mw.attention(q, k, v, mw.causal(), dropout_p=0.5, impl="flex")
    with pytest.raises(CannotExpress, match=r"not torch\.float64"):
        mw.attention(q.double(), k.double(), v.double(), mw.causal(), impl="flex")
    with pytest.raises(CannotExpress, match=r"log-sum-exp; impl='tiled' can"):
        mw.attention(q, k, v, mw.causal(), return_lse=True, impl="flex")
    with pytest.raises(CannotExpress, match=r"no backward pass; call it under torch\.no_grad"):
        mw.attention(q.requires_grad_(), k, v, mw.causal(), impl="flex")


def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    _flex._no_cpu_kernel.cache_clear()
    try:
        with pytest.raises(CannotExpress, match=r"AVX2|Linux|no C\+\+ compiler 'no-such-compiler'"):
            mw.attention(*tensors(8, 8), mw.causal(), impl="flex")
    finally:
        _flex._no_cpu_kernel.cache_clear()


def test_auto_leaves_it_alone_on_cpu_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    plan = mw.plan(*tensors(), mw.causal() & mw.sliding_window(9))
    assert plan.impl != "flex"
    assert plan.why_not["flex"] == "auto compiles it on CUDA only; ask for it by name"


def test_flex_says_on_the_cpu_that_it_has_no_gradients_and_auto_takes_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    q, k, v = tensors(40, 40)
    with pytest.raises(CannotExpress, match=r"on CPU it has no backward pass; call it under torch\.no_grad"):
        mw.attention(q.requires_grad_(), k, v, mw.causal(), impl="flex")
    mw.attention(q, k, v, mw.causal() & (mw.sliding_window(24) | mw.sinks(3))).sum().backward()
    assert q.grad is not None


def test_compiled_flexattention_on_the_cpu_returns_no_log_sum_exp(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    with pytest.raises(CannotExpress, match="on CPU it does not return the log-sum-exp; impl='tiled' can"):
        mw.attention(*tensors(8, 8), mw.causal(), return_lse=True, impl="flex")
    assert mw.plan(*tensors(8, 8), mw.causal(), return_lse=True).impl == "tiled"


@pytest.mark.parametrize(("q_len", "kv_len"), [(0, 5), (5, 0), (0, 0)])
def test_an_empty_sequence_needs_no_kernel(q_len: int, kv_len: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    q, k, v = tensors(q_len, kv_len)
    out = mw.attention(q, k, v, mw.causal(), q_start=0, impl="flex")
    assert out.shape == q.shape
    assert (out == 0).all()


def test_more_lengths_than_dynamo_takes_for_sensible(monkeypatch: pytest.MonkeyPatch):
    """Each length is compiled for itself, and there are more of them than dynamo's limit of 8; here without kernels."""
    uncompiled = torch.compile(_flex._flex, fullgraph=True, dynamic=False, backend="eager")
    monkeypatch.setattr(_flex, "_compiled", lambda: uncompiled)
    monkeypatch.setattr(_flex, "_no_cpu_kernel", lambda: None)
    limit = torch._dynamo.config.recompile_limit
    for length in range(20, 20 + limit + 2):
        assert_matches(*tensors(length, length), mw.causal() & mw.sliding_window(5))
    assert torch._dynamo.config.recompile_limit == limit


@pytest.mark.slow
@compiles
def test_matches_the_reference():
    """One class of shapes, so that it is compiled once: lengths no multiple of the block, groups of two heads."""
    lengths = [60, 1, 129, 110]
    for mask in (
        mw.causal(),
        mw.full(),
        mw.empty(),
        mw.causal() & mw.sliding_window(130),
        mw.within(mw.causal() & mw.sliding_window(7), lengths),
        mw.document(lengths),
        ~mw.causal(),
        mw.padding([140]),
    ):
        assert_matches(*tensors(), mask)


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("text", ["padding([100, 299]) & causal", "causal & (sliding_window(20) | sinks(130))"])
def test_matches_the_reference_in_other_classes(text: str):
    assert_matches(*tensors(), mw.parse(text))


@pytest.mark.slow
@compiles
def test_fewer_queries_than_keys():
    q, k, v = tensors(130)
    for q_start in (0, 100, 170):
        assert_matches(q, k, v, mw.causal() & mw.sliding_window(150), q_start)


@pytest.mark.slow
@compiles
def test_one_query_at_a_time():
    q, k, v = tensors(1)
    for q_start in (0, 5, 127, 128, 299):
        assert_matches(q, k, v, mw.causal() & mw.sliding_window(150), q_start)
    assert_matches(q, k, v, mw.empty(), 0)


@pytest.mark.slow
@compiles
def test_values_of_another_width():
    assert_matches(*tensors(v_dim=24), mw.causal())


@pytest.mark.slow
@compiles
def test_bfloat16():
    assert_matches(*tensors(dtype=torch.bfloat16), mw.causal())


@pytest.mark.slow
@compiles
def test_empty_rows_are_zero_and_an_unseen_nan_changes_nothing():
    q, k, v = tensors()
    mask = mw.causal() - mw.sinks(150)  # the first 150 queries see nothing, and nobody sees the first 150 keys
    clean = mw.attention(q, k, v, mask, impl="flex")
    assert (clean[:, :, :150] == 0).all()
    for bad in (math.nan, math.inf):
        k[:, :, :150], v[:, :, :150], q[:, :, :150] = bad, bad, bad
        assert torch.equal(mw.attention(q, k, v, mask, impl="flex"), clean)


@pytest.mark.slow
@compiles
def test_fifty_masks_compile_once_per_class():
    path = Path(__file__).parents[2] / "benchmarks" / "masks_flex.py"
    spec = importlib.util.spec_from_file_location("masks_flex", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    result = benchmark.measure()
    assert result["masks"] == 50
    assert result["worst_difference"] < 1e-5
    assert [(row["runs"], row["batch"], row["attention"]) for row in result["classes"]] == [
        (1, 1, 1), (2, 1, 1), (4, 1, 1), (1, 2, 1),
    ]  # fmt: skip
    # the module's own two graphs, before and after attention, are compiled with the first mask and never again
    assert [row["module"] for row in result["classes"]] == [2, 0, 0, 0]


@pytest.mark.cuda
@pytest.mark.parametrize("text", ["causal", "causal & (sliding_window(70) | sinks(4))", "causal - sinks(150)", "empty"])
def test_cuda_forward_backward_and_log_sum_exp(text: str):
    mask, grads = mw.parse(text), []
    results = []
    for impl in ("flex", "reference"):
        g = torch.Generator().manual_seed(0)
        shapes = ((BATCH, 4, LENGTH, 16), (BATCH, 2, LENGTH, 16), (BATCH, 2, LENGTH, 16))
        q, k, v = (torch.randn(shape, generator=g).cuda().requires_grad_() for shape in shapes)
        out, lse = mw.attention(q, k, v, mask, return_lse=True, impl=impl)
        seen = lse.isfinite()
        (out.square().sum() + lse[seen].sum()).backward()
        results.append((out.double(), lse.double()))
        grads.append((q.grad, k.grad, v.grad))
    # tensor cores may multiply float32 as TF32, with 10 bits of mantissa
    torch.testing.assert_close(*results, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(*grads, rtol=5e-2, atol=5e-2)


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("mask", [mw.causal() - mw.sinks(3), mw.causal() & mw.sliding_window(40), mw.full()])
def test_softcap_and_sinks(mask: mw.Mask, softcap: float | None):
    q, k, v = tensors()
    sinks = torch.tensor([0.5, -math.inf, 2.0, -1.0])
    out = mw.attention(q, k, v, mask, softcap=softcap, sinks=sinks, impl="flex")
    exact = (x.double() for x in (q, k, v))
    expected = mw.attention(*exact, mask, softcap=softcap, sinks=sinks, impl="reference")
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mask", [mw.causal() - mw.sinks(3), mw.real([1, 0] * 5), mw.full(), mw.empty()])
def test_the_key_of_a_sink_is_one_more_that_all_see(mask: mw.Mask):
    bound = mask.bind(10)
    wider = _flex._with_sink_key(bound)
    assert wider.dense()[..., -1].all()
    assert (wider.dense()[..., :-1] == bound.dense()).all()
