"""ALiBi and T5's relative bias: cell for cell, against their authors' code, on each implementation with a bias."""

import math

import pytest
import torch

import maskwork as mw
from maskwork.errors import ArgumentError, GridError

IMPLS = ("reference", "sdpa", "tiled")


def tensors(q_len: int, kv_len: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, q_len, 8, generator=g, dtype=dtype)
    k, v = (torch.randn(2, 2, kv_len, 8, generator=g, dtype=dtype) for _ in range(2))
    return q, k, v


def table_of(buckets: int = 8, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(buckets, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)


def t5_bucket(distance: int, bidirectional: bool, buckets: int, most: int) -> int:
    """The published formula, for one distance. Float64: away from the borders of buckets it says what T5 says."""
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    return first + min(
        exact + int(math.log(distance / exact) / math.log(most / exact) * (buckets - exact)), buckets - 1
    )


def test_alibi_is_minus_slope_times_distance():
    dense = mw.alibi(torch.tensor([0.5, 2.0])).dense(q_start=3, q_len=4, kv_len=9)
    assert dense.shape == (1, 2, 4, 9)
    for h, slope in enumerate((0.5, 2.0)):
        for i in range(4):
            for k in range(9):
                assert dense[0, h, i, k] == -slope * abs(k - (3 + i))


def test_alibi_signed_is_slope_times_distance_and_slopes_may_differ_by_batch_row():
    slopes = torch.tensor([[0.5, 2.0], [1.0, 0.0], [0.25, 4.0]])
    for signed in (True, False):
        dense = mw.alibi(slopes, signed=signed).dense(q_start=-2, q_len=4, kv_len=5)
        assert dense.shape == (3, 2, 4, 5)
        for b, h, i, k in torch.cartesian_prod(*(torch.arange(n) for n in dense.shape)).tolist():
            distance = k - (i - 2)
            assert dense[b, h, i, k] == slopes[b, h] * (distance if signed else -abs(distance))


def test_signed_alibi_is_blooms_and_mpts():
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom", reason="transformers is not installed")
    mpt = pytest.importorskip("transformers.models.mpt.modeling_mpt", reason="transformers is not installed")
    q, k, v = tensors(6, 6)
    ours = mw.attention(q, k, v, mw.full(), bias=mw.alibi(4, signed=True))
    by_key = bloom.build_alibi_tensor(torch.ones(1, 6), 4, torch.float32).view(4, 1, 6)
    for theirs in (by_key, mpt.build_mpt_alibi_tensor(4, 6)):
        torch.testing.assert_close(ours, mw.attention(q, k, v, mw.full(), bias=theirs), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours, mw.attention(q, k, v, mw.full(), bias=mw.alibi(4)), atol=1e-3)


@pytest.mark.parametrize("impl", IMPLS)
def test_slopes_and_starts_of_each_batch_row_go_together(impl: str):
    q, k, v = tensors(3, 8)
    slopes = torch.rand(2, 4, generator=torch.Generator().manual_seed(2))
    out = mw.attention(q, k, v, mw.causal(), q_start=[1, 5], bias=mw.alibi(slopes), impl=impl)
    for b, start in enumerate((1, 5)):
        row = slice(b, b + 1)
        alone = mw.attention(q[row], k[row], v[row], mw.causal(), q_start=start, bias=mw.alibi(slopes[b]), impl=impl)
        torch.testing.assert_close(out[row], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20, 40])
def test_slopes_are_the_papers(heads: int):
    def authors(n: int) -> list[float]:  # Press et al., get_slopes
        def of_power(n: int) -> list[float]:
            start = 2 ** (-(2 ** -(math.log2(n) - 3)))
            return [start * start**i for i in range(n)]

        if math.log2(n).is_integer():
            return of_power(n)
        closest = 2 ** math.floor(math.log2(n))
        return of_power(closest) + authors(2 * closest)[0::2][: n - closest]

    slopes = -mw.alibi(heads).by_distance(0, 2, 1)[:, 0]  # the second query, one key back
    torch.testing.assert_close(slopes, torch.tensor(authors(heads)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (8, 20), (64, 1000), (4, 3), (5, 7)])
def test_buckets_are_t5s(bidirectional: bool, buckets: int, most: int):
    numbered = torch.arange(buckets, dtype=torch.float32)[:, None]  # each bucket's bias is its number
    bias = mw.relative_bias(numbered, bidirectional=bidirectional, max_distance=most)
    found = bias.by_distance(0, 1500, 1500)[0].long()
    distances = range(-1499, 1500)
    wanted = torch.tensor([t5_bucket(d, bidirectional, buckets, most) for d in distances])
    # float32 may put a distance that lies on a border into the neighbouring bucket, as T5 does
    assert (found - wanted).abs().max() <= 1
    assert (found != wanted).sum() <= 4


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (8, 20), (64, 1000), (4, 3), (5, 7)])
def test_buckets_are_those_of_transformers(bidirectional: bool, buckets: int, most: int):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5", reason="transformers is not installed")
    bias = mw.relative_bias(
        torch.arange(buckets, dtype=torch.float32)[:, None], bidirectional=bidirectional, max_distance=most
    )
    wanted = t5.T5Attention._relative_position_bucket(torch.arange(-4999, 5000), bidirectional, buckets, most)
    assert torch.equal(bias.by_distance(0, 5000, 5000)[0].long(), wanted)


@pytest.mark.parametrize("make", [lambda: mw.alibi(4), lambda: mw.relative_bias(table_of(), bidirectional=True)])
@pytest.mark.parametrize("grid", [(0, 5, 5), (3, 4, 9), (20, 3, 2), (7, 1, 8), (0, 0, 4), (2, 3, 0), (0, 0, 0)])
def test_dense_holds_by_distance(make, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bias = make()
    values, dense = bias.by_distance(*grid), bias.dense(*grid)
    assert values.shape == (4, max(q_len + kv_len - 1, 0))
    assert dense.shape == (1, 4, q_len, kv_len)
    for i in range(q_len):
        for k in range(kv_len):
            distance = k - (q_start + i)
            assert torch.equal(dense[0, :, i, k], values[:, distance + q_start + q_len - 1])
            assert torch.equal(dense[0, :, i, k], bias.of_distances(torch.tensor([distance]))[:, 0])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("make", [lambda: mw.alibi(4), lambda: mw.relative_bias(table_of(), bidirectional=False)])
@pytest.mark.parametrize(("q_start", "q_len", "kv_len"), [(0, 12, 12), (8, 4, 12), (11, 1, 12), (0, 0, 5), (0, 1, 1)])
def test_attention_adds_it(impl: str, make, q_start: int, q_len: int, kv_len: int):
    q, k, v = tensors(q_len, kv_len)
    mask = mw.causal() & mw.sliding_window(7)
    out = mw.attention(q, k, v, mask, q_start=q_start, bias=make(), impl=impl)
    dense = make().dense(q_start, q_len, kv_len)
    expected = mw.attention(q, k, v, mask, q_start=q_start, bias=dense, impl="reference")
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    bound = mask.bind(q_len, kv_len, q_start=q_start)
    assert torch.equal(mw.attention(q, k, v, bound, bias=make(), impl=impl), out)


@pytest.mark.parametrize("impl", IMPLS)
def test_the_tables_gradient_is_the_derivative(impl: str):
    # few numbers, of which each is moved in turn
    qkv = [x[:1, ..., :3].contiguous() for x in tensors(3, 5, torch.float64)]
    inputs = [x.requires_grad_() for x in (*qkv, table_of(dtype=torch.float64))]
    mask = mw.causal() & (mw.sliding_window(2) | mw.sinks(1))

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        bias = mw.relative_bias(table, bidirectional=True, max_distance=4)
        return mw.attention(q, k, v, mask, q_start=2, bias=bias, impl=impl)

    assert torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize("impl", IMPLS)
def test_learned_slopes_have_a_gradient(impl: str):
    q, k, v = tensors(4, 4, torch.float64)
    slopes = torch.tensor([0.5, 0.25, 0.1, 0.01], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: mw.attention(q, k, v, mw.causal(), bias=mw.alibi(s), impl=impl), slopes)


def test_only_buckets_that_some_query_sees_have_a_gradient():
    q, k, v = tensors(12, 12)
    table = table_of(16).requires_grad_()
    mw.attention(q, k, v, mw.causal() & mw.sliding_window(3), bias=mw.relative_bias(table, bidirectional=False)).sum(
        -1
    ).square().sum().backward()
    assert (table.grad[:3] != 0).any(1).all()
    assert (table.grad[3:] == 0).all()


def test_far_distances_keep_their_size_in_half_precision():
    bias = mw.alibi(torch.ones(4, dtype=torch.bfloat16))
    assert bias.by_distance(0, 258, 1)[0, 0].item() == -257.0
    q, k, v = (x.bfloat16() for x in tensors(6, 6))
    assert mw.attention(q, k, v, mw.causal(), bias=bias).dtype == torch.bfloat16


# Where a graph breaks, dynamo looks at .grad of what crosses and hides the warning; here warnings are errors first.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_position_bias_may_be_used_inside_a_compiled_function():
    q, k, v = tensors(6, 6)
    bias = mw.relative_bias(table_of().requires_grad_(), bidirectional=True)
    mask = mw.causal()

    @torch.compile(backend="eager")
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return mw.attention(q, k, v, mask, bias=bias).square()

    torch.testing.assert_close(attend(q, k, v), mw.attention(q, k, v, mask, bias=bias).square())
    attend(q, k, v).sum().backward()
    assert bias.table.grad.isfinite().all()


def test_mistakes_say_rule_finding_and_mend():
    q, k, v = tensors(3, 5)
    with pytest.raises(ArgumentError, match=r"q's heads, got one for 3 and q with 4; give it a slope"):
        mw.attention(q, k, v, mw.causal(), q_start=2, bias=mw.alibi(3))
    for mask in (None, mw.full()):  # the mask does not ask where the queries stand, the bias does
        with pytest.raises(GridError, match=r"q_start=0 .* q_start=2 \(kv_len - q_len\)"):
            mw.attention(q, k, v, mask, bias=mw.alibi(4))
    for slopes in (0, True, 1.5, torch.ones(2, 2, 2), torch.ones(2, dtype=torch.int), torch.ones(0)):
        with pytest.raises(ArgumentError, match="slopes must be a floating point tensor"):
            mw.alibi(slopes)
    for table in (torch.zeros(32), torch.zeros(32, 4, dtype=torch.int), torch.zeros(32, 0), None):
        with pytest.raises(ArgumentError, match="table must be a floating point tensor"):
            mw.relative_bias(table, bidirectional=True)
    with pytest.raises(ArgumentError, match="at least 2 buckets"):
        mw.relative_bias(torch.zeros(3, 4), bidirectional=True)
    with pytest.raises(ArgumentError, match="max_distance=8; use a larger"):
        mw.relative_bias(torch.zeros(32, 4), bidirectional=True, max_distance=8)
