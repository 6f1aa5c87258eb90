"""What is done to scores (softcap, bias, sinks), on each implementation, against one dense definition in float64."""

import math
from collections.abc import Iterator

import pytest
import torch

import maskwork as mw
from maskwork.errors import ArgumentError, CannotExpress, ShapeError

IMPLS = ("reference", "sdpa", "tiled", "auto")
#: queries, keys, absolute position of the first query
GRIDS = {"fewer queries": (5, 9, 4), "square": (8, 8, 0), "more queries": (9, 5, -4)}
MASKS = {
    "window": mw.causal() & mw.sliding_window(4),
    "both ways": mw.band(3, 2),
    "rows without keys": mw.causal() - mw.sinks(3),
}
BIASES = ("none", "alibi", "signed", "slopes of each batch row", "tensor")
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}
Inputs = dict[str, torch.Tensor]


def inputs(q_len: int, kv_len: int, kv_heads: int = 2, batch: tuple[int, int] = (2, 2), sinks: bool = True) -> Inputs:
    g = torch.Generator().manual_seed(0)
    shapes = {
        "q": (batch[0], 4, q_len, 8), "k": (batch[1], kv_heads, kv_len, 8), "v": (batch[1], kv_heads, kv_len, 6),
        "slopes": (4,), "row slopes": (max(batch), 4), "bias": (4, q_len, kv_len),
    }  # fmt: skip
    if sinks:
        shapes["sinks"] = (4,)
    values = {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}
    values["q"] *= 3  # so that a softcap of 2 bends the scores
    return values


def bias_of(kind: str, x: Inputs) -> object:
    return {
        "none": lambda: None,
        "alibi": lambda: mw.alibi(x["slopes"]),
        "signed": lambda: mw.alibi(x["slopes"], signed=True),
        "slopes of each batch row": lambda: mw.alibi(x["row slopes"]),
        "tensor": lambda: x["bias"],
    }[kind]()


def definition(
    x: Inputs, allowed: torch.Tensor, kind: str, softcap: float | None, q_start: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and log-sum-exp, written down from the papers, with a column for the sink."""
    q, k, v = x["q"], x["k"], x["v"]
    groups = q.shape[1] // k.shape[1]
    k, v = (y.repeat_interleave(groups, 1) for y in (k, v))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    distance = torch.arange(k.shape[2]) - torch.arange(q_start, q_start + q.shape[2])[:, None]
    if kind == "tensor":
        scores = scores + x["bias"]
    elif kind == "slopes of each batch row":
        scores = scores - x["row slopes"][:, :, None, None] * distance.abs()
    elif kind != "none":
        scores = scores + x["slopes"][:, None, None] * (distance if kind == "signed" else -distance.abs())
    sinks = x.get("sinks", torch.full((4,), -math.inf, dtype=torch.float64))
    column = sinks[:, None, None].expand(*scores.shape[:3], 1)
    scores = torch.cat([scores.masked_fill(~allowed, -math.inf), column], -1)
    empty = scores.detach().amax(-1) == -math.inf
    weights = scores.masked_fill(empty[..., None], 0.0).softmax(-1).masked_fill(empty[..., None], 0.0)
    lse = scores.masked_fill(empty[..., None], 0.0).logsumexp(-1).masked_fill(empty, -math.inf)
    return weights[..., :-1] @ v, lse


def with_gradients(outputs: tuple[torch.Tensor, ...], leaves: Inputs, names: list[str]) -> list[torch.Tensor]:
    """The outputs, then the gradients of a weighted sum of them (of log-sum-exps where they are finite)."""
    g = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=torch.float64)
    for y in outputs:
        towards = torch.randn(y.shape, generator=g, dtype=torch.float64)
        total = total + (y.double().masked_fill(~y.isfinite(), 0.0) * towards).sum()
    gradients = torch.autograd.grad(total, [leaves[name] for name in names])
    return [y.detach().double() for y in outputs] + [y.double() for y in gradients]


def cases() -> Iterator[tuple[str, str, float | None, bool, str, int]]:
    """Every mask, grid, softcap, sinks and bias; the number of key heads goes round."""
    number = 0
    for grid in GRIDS:
        for mask in MASKS:
            for softcap in (None, 2.0):
                for sinks in (False, True):
                    for kind in BIASES:
                        yield grid, mask, softcap, sinks, kind, (4, 2, 1)[number % 3]
                        number += 1


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("impl", "tiles"),
    [(impl, "operators") for impl in IMPLS] + [(impl, "compiled") for impl in ("tiled", "auto")],
    indirect=["tiles"],
)
def test_output_and_gradients_are_those_of_the_definition(impl: str, dtype: torch.dtype, tiles: str):
    for grid, name, softcap, sinks, kind, kv_heads in cases():
        if impl == "sdpa" and softcap is not None:
            continue
        q_len, kv_len, q_start = GRIDS[grid]
        # numbers that the dtype holds, so that only the computation differs
        given = {key: y.to(dtype) for key, y in inputs(q_len, kv_len, kv_heads, sinks=sinks).items()}
        bound = MASKS[name].bind(q_len, kv_len, q_start=q_start)
        used = {"alibi": ["slopes"], "signed": ["slopes"], "slopes of each batch row": ["row slopes"]}.get(
            kind, ["bias"] if kind == "tensor" else []
        )
        names = ["q", "k", "v", *(["sinks"] if sinks else []), *used]
        exact = {key: y.double().requires_grad_() for key, y in given.items()}
        ours = {key: y.clone().requires_grad_() for key, y in given.items()}
        wanted = definition(exact, torch.from_numpy(bound.dense()), kind, softcap, q_start)
        keywords = {"bias": bias_of(kind, ours), "softcap": softcap, "sinks": ours.get("sinks"), "impl": impl}
        if impl == "sdpa":  # it has no log-sum-exp
            got, wanted = (mw.attention(ours["q"], ours["k"], ours["v"], bound, **keywords),), wanted[:1]
        else:
            got = mw.attention(ours["q"], ours["k"], ours["v"], bound, return_lse=True, **keywords)
        assert got[0].dtype == dtype
        pairs = zip(with_gradients(got, ours, names), with_gradients(wanted, exact, names), strict=True)
        for what, (a, b) in zip((*"ol"[: len(got)], *names), pairs, strict=True):
            size = max(1.0, float(b.masked_fill(~b.isfinite(), 0.0).abs().max()))
            message = f"{what} of {(grid, name, softcap, sinks, kind, kv_heads)}: "
            torch.testing.assert_close(
                a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * size, msg=lambda m, message=message: message + m
            )


@pytest.mark.parametrize("impl", ["reference", "tiled"])
@pytest.mark.parametrize("kind", ["none", "tensor", "slopes of each batch row"])
def test_gradients_are_derivatives(kind: str, impl: str):
    x = inputs(3, 4)
    names = ["q", "k", "v", "sinks", *({"tensor": ["bias"], "slopes of each batch row": ["row slopes"]}.get(kind, []))]

    def attend(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x | dict(zip(names, tensors, strict=True))
        mask = mw.causal() - mw.sinks(1)  # with q_start=0, the first row sees nothing: its log-sum-exp is the sink
        keywords = {"bias": bias_of(kind, y), "softcap": 2.0, "sinks": y["sinks"]}
        return mw.attention(y["q"], y["k"], y["v"], mask, q_start=0, return_lse=True, impl=impl, **keywords)

    assert torch.autograd.gradcheck(attend, [x[name].requires_grad_() for name in names], fast_mode=True)


@pytest.mark.parametrize("impl", ["sdpa", "tiled", "auto"])
def test_long_sequences_with_sinks_and_softcap(impl: str, tiles: str):
    """Long enough for segments, repeated tiles and `auto`'s own choice of tiles."""
    x = {key: y.float() for key, y in inputs(1300, 1300).items()}
    softcap = None if impl == "sdpa" else 5.0
    mask = mw.causal() & (mw.sliding_window(700) | mw.sinks(4))
    results = []
    for name, dtype in (("reference", torch.float64), (impl, torch.float32)):
        leaves = {key: x[key].to(dtype).requires_grad_() for key in ("q", "k", "v", "sinks")}
        out = mw.attention(
            leaves["q"], leaves["k"], leaves["v"], mask, softcap=softcap, sinks=leaves["sinks"], impl=name
        )
        results.append(with_gradients((out,), leaves, list(leaves)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4 * max(1.0, float(a.abs().max())))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("batch", [(1, 3), (3, 1)])
def test_one_batch_row_stands_for_all(batch: tuple[int, int], impl: str, tiles: str):
    x = inputs(6, 6, batch=batch)
    mask = mw.causal() & mw.padding([6, 4, 2])
    results = []
    for repeat in (False, True):
        leaves = {key: y.clone().requires_grad_() for key, y in x.items()}
        q, k, v = (leaves[key].expand(3, -1, -1, -1).clone() if repeat else leaves[key] for key in "qkv")
        bias = mw.alibi(leaves["row slopes"])
        out = mw.attention(q, k, v, mask, bias=bias, sinks=leaves["sinks"], impl="reference" if repeat else impl)
        assert out.shape == (3, 4, 6, 6)
        results.append(with_gradients((out,), leaves, ["q", "k", "v", "sinks", "row slopes"]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("impl", ["reference", "tiled"])
def test_a_number_that_no_row_may_see_stays_away_under_a_softcap(impl: str):
    x = {key: y.float() for key, y in inputs(6, 6).items()}
    mask = mw.full() - (mw.prefix(3) - mw.prefix(2))
    results = []
    for bad in (0.0, math.nan, math.inf):
        k, v = x["k"].clone(), x["v"].clone()
        k[:, :, 2], v[:, :, 2] = bad, bad
        leaves = {"q": x["q"].clone(), "k": k, "v": v, "sinks": x["sinks"].clone()}
        leaves = {key: y.requires_grad_() for key, y in leaves.items()}
        out = mw.attention(leaves["q"], leaves["k"], leaves["v"], mask, softcap=2.0, sinks=leaves["sinks"], impl=impl)
        results.append(with_gradients((out,), leaves, list(leaves)))
    for others in results[1:]:
        torch.testing.assert_close(others, results[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", ["tiled", "auto"])
def test_a_compiled_function_computes_the_same(impl: str):
    x = {key: y.float() for key, y in inputs(20, 20).items()}
    bound = (mw.causal() & mw.sliding_window(9)).bind(20)
    mw.kernels.to_tiles(bound)

    def attend(q: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
        return mw.attention(q, x["k"], x["v"], bound, softcap=2.0, sinks=sinks, impl=impl)

    compiled = torch.compile(attend, backend="aot_eager", fullgraph=impl == "tiled")
    torch.testing.assert_close(compiled(x["q"], x["sinks"]), attend(x["q"], x["sinks"]))


# forward mode imports a module of torch that uses what torch itself deprecates
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_forward_mode_derivatives_are_those_of_backward_mode():
    x = inputs(6, 6)
    given = x["q"], x["sinks"]
    towards = tuple(torch.randn_like(y) for y in given)

    def attend(q: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
        mask = mw.causal() - mw.sinks(1)
        return mw.attention(q, x["k"], x["v"], mask, softcap=2.0, sinks=sinks).square().sum()

    gradients = torch.autograd.grad(attend(*(y.requires_grad_() for y in given)), given)
    wanted = sum((a * b).sum() for a, b in zip(gradients, towards, strict=True))
    got = torch.func.jvp(attend, tuple(y.detach() for y in given), towards)[1]
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("impl", ["reference", "sdpa", "tiled"])
def test_dropout_drops_keys_and_no_sink(impl: str):
    """64 equal keys and a sink of log(64): the output is half of what dropout leaves of the keys, 1 on average."""
    q, k, v = torch.zeros(1, 1, 4000, 4), torch.zeros(1, 1, 64, 4), torch.ones(1, 1, 64, 1)
    torch.manual_seed(0)
    out = mw.attention(q, k, v, sinks=torch.tensor([math.log(64)]), dropout_p=0.25, impl=impl)
    weights = out * 2 * 64 * 0.75  # the number of keys left
    torch.testing.assert_close(weights, weights.round(), rtol=0, atol=1e-3)
    assert abs(weights.mean() - 48) < 5 * math.sqrt(64 * 0.25 * 0.75 / 4000)


def test_gemma_2_and_gpt_oss_compute_the_same():
    gemma2 = pytest.importorskip("transformers.models.gemma2.modeling_gemma2", reason="needs transformers")
    gpt_oss = pytest.importorskip("transformers.models.gpt_oss.modeling_gpt_oss", reason="needs transformers")
    x = inputs(7, 7)
    module = torch.nn.Module()
    module.num_key_value_groups, module.sinks = 2, x["sinks"]
    module.eval()
    mask = mw.causal() & mw.sliding_window(3)
    additive = torch.zeros(7, 7, dtype=torch.float64).masked_fill(~torch.from_numpy(mask.bind(7).dense())[0, 0], -1e300)
    qkv = x["q"], x["k"], x["v"]
    theirs = gemma2.eager_attention_forward(module, *qkv, additive, scaling=0.3, softcap=2.0)[0].transpose(1, 2)
    # their weights are rounded to float32
    ours = mw.attention(*qkv, mask, scale=0.3, softcap=2.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    theirs = gpt_oss.eager_attention_forward(module, *qkv, additive, scaling=0.3)[0].transpose(1, 2)
    torch.testing.assert_close(mw.attention(*qkv, mask, scale=0.3, sinks=x["sinks"]), theirs)


def test_what_sdpa_cannot_do_names_what_can():
    x = inputs(4, 4)
    with pytest.raises(CannotExpress, match=r"softcap.*impl='tiled' can"):
        mw.attention(x["q"], x["k"], x["v"], mw.causal(), softcap=2.0, impl="sdpa")
    plan = mw.plan(x["q"], x["k"], x["v"], mw.causal(), softcap=2.0, sinks=x["sinks"])
    assert plan.impl != "sdpa"
    assert "softcap" in plan.why_not["sdpa"]


@pytest.mark.parametrize("softcap", [0.0, -1.0, math.nan, math.inf, True, "2"])
def test_a_softcap_is_a_positive_number(softcap: object):
    x = inputs(2, 2)
    with pytest.raises(ArgumentError, match=r"softcap must be a positive number, got .*; leave it out"):
        mw.attention(x["q"], x["k"], x["v"], softcap=softcap)


@pytest.mark.parametrize("sinks", [4, torch.zeros(3), torch.zeros(1, 4), torch.zeros(4, dtype=torch.long)])
def test_sinks_are_a_logit_for_each_query_head(sinks: object):
    x = inputs(2, 2)
    with pytest.raises(
        ArgumentError, match=r"sinks must be floating point of shape \(Hq,\) = \(4,\).*; pass one logit"
    ):
        mw.attention(x["q"], x["k"], x["v"], sinks=sinks)


@pytest.mark.parametrize("batch", [(2, 3), (4, 2)])
def test_other_batches_are_refused_in_one_line(batch: tuple[int, int]):
    x = inputs(2, 2, batch=batch)
    with pytest.raises(ShapeError, match="one batch row may stand for all") as error:
        mw.attention(x["q"], x["k"], x["v"])
    assert "\n" not in str(error.value)
    x = inputs(2, 2)
    with pytest.raises(ArgumentError, match=r"got one for 3 x 4 and q with \(2, 4\)"):
        mw.attention(x["q"], x["k"], x["v"], bias=mw.alibi(torch.ones(3, 4)))
