"""Bad input: the message says the rule, what it got and the fix; nothing is guessed."""

import pickle

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.errors import MaskError
from maskwork.masks._mask import MAX_NESTED


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.sliding_window(0), "at least 1, got 0"),
        (lambda: mw.sliding_window(2.5), "must be an integer, got 2.5"),
        (lambda: mw.sliding_window(True), "must be an integer, got True"),
        (lambda: mw.sinks(-1), "at least 0"),
        (lambda: mw.prefix([-1]), "at least 0, got -1"),
        (lambda: mw.prefix(0.5), "dtype float64"),
        (lambda: mw.padding(), "got neither"),
        (lambda: mw.padding([1], starts=[1]), "got both"),
        (lambda: mw.document(), "got neither"),
        (lambda: mw.document(np.ones((1, 1, 1), dtype=int)), "1-D or 2-D"),
        (lambda: mw.document(np.array([1.0, 2.0])), "dtype float64"),
        (lambda: mw.document([[1, 2], 3]), "reshape"),
        (lambda: mw.prefix(torch.ones(3, requires_grad=True)), "no gradient"),
        (lambda: mw.within([mw.causal()], [1, 2]), "1 masks for 2 lengths"),
        (lambda: mw.within(["causal"], [1]), "takes masks"),
        (lambda: mw.padding([1, 2]) & mw.padding([1, 2, 3]), "2 and 3 batch rows"),
        (lambda: bool(mw.causal()), "no truth value"),
        (lambda: mw.sliding_window([]), "got none"),
        (lambda: mw.sliding_window([2, 0]), "at least 1, got 0"),
        (lambda: mw.sliding_window(10**9999), "at most .* bits"),
        (lambda: mw.sinks(-(10**9999)), "at least .* bits"),
        (lambda: mw.prefix(np.array([2**64 - 1], dtype=np.uint64)), "at most"),
        (lambda: mw.prefix([]), "got none"),
        (lambda: mw.band(-1, 0), "at least 0, got -1"),
        (lambda: mw.chunked(0), "at least 1"),
        (lambda: mw.block_causal([-1]), "at least 0, got -1"),
        (lambda: mw.block_causal([2**31]), "less than"),
        (lambda: mw.document(np.zeros((0, 3), dtype=int)), "at least one row"),
        (lambda: mw.real([0, 2]), "values up to 2"),
        (lambda: mw.real([0.0, 1.0]), "dtype float64"),
        (lambda: mw.real([[1], [1, 0]]), "flags"),
        (lambda: mw.match([[0], [1]], [[0], [1], [2]]), "2 and 3 batch rows"),
        (lambda: mw.per_head([]), "got none"),
        (lambda: mw.per_head(mw.causal()), "as a list"),
        (lambda: mw.per_row([mw.causal(), 3]), "takes masks, got 3"),
        (lambda: mw.per_head([mw.sliding_window([1, 2]), mw.full(), mw.full()]), "has 2 heads itself"),
        (lambda: mw.sliding_window([1, 2]) ^ mw.sliding_window([1, 2, 3]), "2 and 3 heads"),
        (lambda: mw.within(mw.causal(), [[1], [1]]) & mw.padding([1, 2, 3]), "2 and 3 batch rows"),
        (lambda: mw.within(3, [1]), "takes masks, got 3"),
        (lambda: mw.from_cu_seqlens([1, 2]), "start at 0, got 1"),
        (lambda: mw.from_cu_seqlens([0, 3, 2]), r"got 2 at \[2\] after 3"),
        (lambda: mw.causal().shift(q=0.5), "must be an integer"),
        (lambda: mw.causal().shift(k=2**40), "at most"),
        (lambda: mw.causal().bind(4).tiles([0], [0, 4]), "at least two"),
        (lambda: mw.causal().bind(4).tiles([0, 5], [0, 4]), "within"),
        (lambda: mw.causal().bind(-1), "at least 0"),
        (lambda: mw.full().bind(1, 2**31), r"below 2\*\*31"),
    ],
)
def test_bad_parameters(make, words: str):
    with pytest.raises(MaskError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.within(5, [1]), "takes masks"),
        (lambda: mw.within(mw.padding([1, 2]), [[1], [1], [1]]), "2 and 3 batch rows"),
        (lambda: mw.padding([]), "one number for each batch row"),
        (lambda: mw.document(np.zeros((0, 3), dtype=int)), "batch row"),
        (lambda: mw.sliding_window(torch.tensor(True)), "must be an integer"),
        (lambda: mw.sliding_window(2**70), "at most"),
        (lambda: mw.padding([1, 2]).bind(3).subset_of(mw.padding([1, 2, 3])), "same batch and heads"),
        (lambda: mw.full().bind(3).subset_of(5), "compared with a mask"),
        (lambda: mw.prefix(torch.ones(3, device="meta").long()), "reshape"),
        (lambda: mw.parse("padding([1, 2]) & padding([1, 2, 3])"), "2 and 3 batch rows"),
        (lambda: mw.document([[1] * 25_000] + [[1]] * 12_000), "16777216 numbers"),
        (lambda: mw.tree([[-1] * 25_000] + [[-1]] * 12_000), "16777216 numbers"),
        (lambda: mw.global_tokens([[1] * 25_000] + [[1]] * 12_000), "16777216 numbers"),
        (lambda: mw.document([[3, 1], [2, -2]]), r"at least 0, got -2 at \[1, 1\]$"),
        (lambda: mw.prefix([torch.tensor(1.0, requires_grad=True)]), "requires grad"),
        (lambda: mw.real(torch.eye(3).bool().to_sparse()), "to_dense"),
        (lambda: mw.from_dense(torch.eye(3, dtype=torch.bfloat16)), "BFloat16"),
        (lambda: mw.from_dense(torch.ones(3, 3, requires_grad=True)), "no gradient"),
        (lambda: mw.from_dense(torch.ones(3, 3, device="meta")), "no data"),
        (lambda: mw.causal().bind(4).rows(1.5, 3), "must be an integer"),
        (lambda: mw.causal().bind(4).select(q=[1]).mask.to_json(), "not made by one"),
        (lambda: mw.causal() & torch.ones(2, 2), "joins a mask with a mask, got Tensor; build one with mw.real"),
        (lambda: torch.ones(2, 2, dtype=torch.bool) & mw.causal(), "got Tensor"),
        (lambda: np.ones((2, 2), dtype=bool) | mw.causal(), r"`\|` joins a mask with a mask, got ndarray"),
        (lambda: mw.causal() ^ True, "got bool"),
        (lambda: mw.causal() - mw.sinks, r"call it, as in mw.causal\(\)"),
        (lambda: mw.causal() & mw.causal().bind(3), "then bind"),
        (
            lambda: mw.padding(np.ones((2, 3), dtype=int)),
            "a number or 1-D, got .* marks of 0 and 1 for each key to mw.real",
        ),
        (lambda: mw.padding(starts=torch.ones(2, 3)), r"one number for each batch row here, or marks"),
        (lambda: mw.causal() + mw.sinks(1), r"joined with & \| \^ ~ -, got \+ or \*; write a & b for what both allow"),
        (lambda: sum([mw.causal(), mw.sinks(1)]), "a | b for what either allows"),
        (lambda: mw.causal() * np.ones((2, 2)), "joined with"),
        (lambda: torch.ones(2, 2) + mw.causal(), "joined with"),
        (lambda: np.ones((2, 2)) * mw.causal(), "joined with"),
        (lambda: mw.tree([1, 0]), r"parents\[0\] = 1, which comes after token 0; sort the tokens parents first"),
        (lambda: mw.tree([[-1, 0], [-1, 1]]), r"parents\[1, 1\] = 1, which is token 1 itself; give a root -1"),
        (lambda: mw.tree([None, 0]), "dtype object; write them as whole numbers"),
        (lambda: mw.tree([-1]).bind(2), "give each position its parent, -1 where it has none"),
        (lambda: mw.neighborhood([2, 2], [1, 1]).bind(5), "give a larger shape"),
        (lambda: mw.real(np.zeros((2, 1, 3, 3))), "mw.from_dense"),
        (lambda: mw.real([[1, 1]]).bind(1, 3, q_start=2), "a decoding step appends one"),
        (lambda: mw.document(8), "pass a list"),
        (lambda: mw.document(ids=[0, 0]).bind(3), "-1 where it is padding"),
        (lambda: mw.parse("causal and sinks(1)"), "join two masks with &"),
        (lambda: mw.parse("not causal"), "write ~"),
        (lambda: mw.parse("mw.causal"), "leave out"),
        (lambda: mw.parse("recipes.gpt"), "write out the recipe"),
        (lambda: mw.parse("streaming_llm(4, 1)"), "write out the recipe"),
        (lambda: mw.parse(repr(mw.document(ids=range(100)))), "to_json"),
    ],
)
def test_more_bad_parameters(make, words: str):
    with pytest.raises(MaskError, match=words):
        make()


def _nested(kind: str, depth: int) -> mw.Mask:
    """That many masks, one inside another."""
    mask = mw.causal()
    for i in range(2, depth + 1):
        alternating = (mask & mw.prefix(i)) if i % 2 else (mask | mw.sinks(i))
        mask = {
            "joined": alternating,
            "negated": alternating if i % 2 else ~mask,
            "shifted": mask.shift(q=1) if i % 2 else alternating,
            "within": mw.within(mask, [4]) if i % 2 else mw.within([mask, mw.full()], [3, 1]),
            "per_row": mw.per_row([mask, mw.full()]) if i % 2 else alternating,
        }[kind]
    return mask


@pytest.mark.parametrize("kind", ["joined", "negated", "shifted", "within", "per_row"])
def test_a_mask_as_deep_as_may_be_answers_every_question(kind: str):
    mask = _nested(kind, MAX_NESTED)
    assert mask.depth == MAX_NESTED
    bound = mask.bind(4)
    assert bound.dense().shape == (mask.batch, 1, 4, 4)
    assert bound.explain(2, 1).allowed == bound.dense()[0, 0, 2, 1]
    assert pickle.loads(pickle.dumps(mask)) == mask
    assert hash(mask) == hash(_nested(kind, MAX_NESTED))
    assert repr(mask)
    with pytest.raises(MaskError, match=f"nested {MAX_NESTED} deep, got {MAX_NESTED + 1}; join parts side by side"):
        _nested(kind, MAX_NESTED + 1)


def test_parts_side_by_side_are_one_level():
    joined = mw.causal()
    for i in range(1000):
        joined = joined | mw.band(i + 1, i)
    assert joined.depth == 2
    assert joined.bind(3).allowed == 9


def test_a_mask_says_what_a_bound_mask_has():
    for name in ("allowed", "explain", "show", "dense", "subset_of"):
        with pytest.raises(AttributeError, match=rf"mask\.bind\(q_len\)\.{name}$"):
            getattr(mw.causal(), name)
    with pytest.raises(AttributeError, match=r"no attribute 'weight'$"):
        _ = mw.causal().weight
    with pytest.raises(AttributeError, match="sliding_windows"):
        _ = mw.sliding_windows
