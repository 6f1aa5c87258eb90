"""Bad input says rule, finding and mend; nothing is guessed."""

import copy
import pickle

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.errors import GridError, MaskError, ParseError, TooManySpans
from maskwork.masks._mask import MAX_NESTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k <= q", "found '<'"),
        ("!causal", "write ~ for not"),
        ("(causal and full)", "join masks with &"),
        ("(causal or full)", r"join masks with \|"),
        ("sliding_window(8.5)", "numbers are whole"),
        ("causal & (full | empty", r"'\(' at column 10 is not"),
        ("document([3, 4", r"'\[' at column 10 is not"),
        ("within(causal, <int64[40] abc>)", "use to_json"),
        ("causal & " * 20 + "zzz & " + "causal & " * 20 + "full", "…sal & .* & zzz & causal & causa…"),
    ],
)
def test_a_text_that_is_no_mask_says_what_to_write(text: str, said: str):
    with pytest.raises(ParseError, match=said) as raised:
        mw.parse(text)
    _, shown, caret = str(raised.value).split("\n")
    # the caret is under the very place, also where the line is a part of the text
    assert caret.index("^") <= len(shown)
    if "zzz" in text:
        assert shown[caret.index("^") :].startswith("zzz")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.sliding_window(0), "at least 1, got 0"),
        (lambda: mw.sliding_window(2.5), "must be an integer, got 2.5"),
        (lambda: mw.sliding_window(True), "must be an integer, got True"),
        (lambda: mw.sinks(-1), "at least 0"),
        (lambda: mw.prefix([-1]), "at least 0, found -1"),
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
        (lambda: mw.padding([1, 2]) & mw.padding([1, 2, 3]), "2 and 3 rows"),
        (lambda: bool(mw.causal()), "no truth value"),
        (lambda: mw.sliding_window([]), "got none"),
        (lambda: mw.sliding_window([2, 0]), "at least 1, found 0"),
        (lambda: mw.sliding_window(10**9999), "at most .* bits"),
        (lambda: mw.sinks(-(10**9999)), "at least .* bits"),
        (lambda: mw.prefix(np.array([2**64 - 1], dtype=np.uint64)), "at most"),
        (lambda: mw.prefix([]), "got none"),
        (lambda: mw.band(-1, 0), "at least 0, got -1"),
        (lambda: mw.chunked(0), "at least 1"),
        (lambda: mw.block_causal([-1]), "at least 0, found -1"),
        (lambda: mw.block_causal([2**31]), "less than"),
        (lambda: mw.document(np.zeros((0, 3), dtype=int)), "at least one row"),
        (lambda: mw.real([0, 2]), "values up to 2"),
        (lambda: mw.real([0.0, 1.0]), "dtype float64"),
        (lambda: mw.real([[1], [1, 0]]), "flags"),
        (lambda: mw.match([[0], [1]], [[0], [1], [2]]), "2 and 3 rows"),
        (lambda: mw.per_head([]), "got none"),
        (lambda: mw.per_head(mw.causal()), "as a list"),
        (lambda: mw.per_row([mw.causal(), 3]), "takes masks, got 3"),
        (lambda: mw.per_head([mw.sliding_window([1, 2]), mw.full(), mw.full()]), "speaks of 2 itself"),
        (lambda: mw.sliding_window([1, 2]) ^ mw.sliding_window([1, 2, 3]), "2 and 3 heads"),
        (lambda: mw.within(mw.causal(), [[1], [1]]) & mw.padding([1, 2, 3]), "2 and 3 rows"),
        (lambda: mw.within(3, [1]), "takes masks, got 3"),
        (lambda: mw.from_cu_seqlens([1, 2]), "start at 0, got 1"),
        (lambda: mw.from_cu_seqlens([0, 3, 2]), "entry 2 is 2 after 3"),
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
        (lambda: mw.causal().bind(3, 5), "q_start=2"),
        (lambda: mw.document([2, 2]).bind(5), "grid's 5 positions"),
        (lambda: mw.document([2, 2]).bind(3), "exactly"),
        (lambda: mw.document(ids=[0, 0, 1]).bind(4), "reach 3"),
        (lambda: mw.within(mw.document([1]), [2, 2]).bind(4), "reach 1"),
        (lambda: mw.document([[2, 2], [3, 0]]).bind(4), "reach 3"),
        (lambda: mw.padding([1, 2]).bind(3, batch=3), "2 rows, got 3"),
        (lambda: mw.sliding_window([1, 2]).bind(3, heads=3), "2 heads, got 3"),
        (lambda: mw.sliding_window([1, 2]).bind(3).equals(mw.sliding_window([1, 2, 3])), "same batch and heads"),
        (lambda: mw.match([0, 1], [0, 1, 2]).bind(3), "q_ids number"),
        (lambda: mw.match([0, 1], [0, 1, 2]).bind(2, 4, q_start=0), "k_ids number"),
        (lambda: mw.real([1, 1]).bind(1, 3), "marks number"),
        (lambda: mw.real([1, 1]).shift(k=-1).bind(2, 2), "reach 2"),
        (lambda: mw.causal().shift(q=-(2**31) + 1).bind(4), "shift it by less"),
        (lambda: mw.block_causal([1, 2]).bind(2), "exactly"),
        (lambda: mw.causal().bind(4, q_start=2).rows(1, 3), "rows must lie"),
        (lambda: mw.causal().bind(4).equals(mw.causal().bind(5)), "one grid"),
    ],
)
def test_bad_grids(make, words: str):
    with pytest.raises(GridError, match=words):
        make()


def test_a_part_of_a_longer_sequence_is_fine_when_q_start_says_so():
    mask = mw.within(mw.causal(), [3, 4])
    assert np.array_equal(mask.bind(2, 5, q_start=3).dense(), mask.bind(7).dense()[..., 3:5, :5])


def test_masks_blind_to_the_query_need_no_q_start():
    assert mw.padding([2]).bind(1, 4).allowed == 2
    assert mw.sinks(3).bind(2, 4).allowed == 6


def test_too_many_spans_is_said_before_memory_is_taken():
    ids = np.arange(40_000) % 2
    with pytest.raises(TooManySpans, match="20000 runs a row"):
        mw.document(ids=ids).bind(40_000).empty_rows()


def test_too_many_spans_is_what_all_pieces_of_a_long_question_hold():
    with pytest.raises(TooManySpans, match="1001 runs a row x 1048576 rows"):
        mw.dilated(500, 2).bind(2**20).empty_rows()
    for q_len in (2**29, 2**31 - 1):
        with pytest.raises(TooManySpans, match="1 runs a row"):
            mw.causal().bind(q_len).empty_rows()
    with pytest.raises(TooManySpans):
        mw.causal().bind(1, 2**31 - 1, q_start=2**31 - 2).reach(2)
    assert mw.sinks(3).bind(2**31 - 1).spans.row(2**31 - 2) == [(0, 3)], "one row stands for all"


def test_the_mend_of_too_many_spans_works():
    ids = np.arange(40_000) % 2
    part = mw.document(ids=ids).bind(40_000).rows(7, 9)
    assert part.allowed == 40_000
    assert part.last_seen()[0, 0, :3].tolist() == [8, 7, 8]


def test_a_mask_of_no_known_atom_says_so():
    class Odd(mw.Mask):
        def _spans(self, queries, kv_len):
            raise AssertionError

    for ask in (repr, hash, pickle.dumps, mw.Mask.to_json):
        with pytest.raises(MaskError, match="a Odd is not made by one"):
            ask(Odd())


def test_parameters_are_copied_and_arrays_read_only():
    lengths = np.array([2, 2])
    mask = mw.document(lengths)
    lengths[0] = 3
    assert mask == mw.document([2, 2])
    spans = mask.bind(4).spans
    with pytest.raises(ValueError, match="read-only"):
        spans.starts[0, 0, 0, 0] = 9


def test_tensors_and_lists_make_the_same_mask():
    for value in ([2, 2], (2, 2), np.array([2, 2], dtype=np.uint8), torch.tensor([2, 2], dtype=torch.int32)):
        assert mw.document(value) == mw.document([2, 2])
    assert mw.document([[1, 2], [3]]) == mw.document([[1, 2], [3, 0]])


def test_one_row_for_a_batch_of_one_is_the_mask_without_a_batch():
    pairs = [
        (mw.prefix([5]), mw.prefix(5)),
        (mw.padding(starts=[2]), mw.padding(starts=2)),
        (mw.document([[4, 5]]), mw.document([4, 5])),
        (mw.document(ids=[[0] * 9]), mw.document(ids=[0] * 9)),
        (mw.real(torch.ones(1, 9, dtype=torch.int64)), mw.real([1] * 9)),
        (mw.match([[0] * 9], [0] * 9), mw.match([0] * 9, [[0] * 9])),
        (mw.tree([[-1] * 9]), mw.tree([-1] * 9)),
        (mw.global_tokens([[3, -1]]), mw.global_tokens([3])),
        (mw.within(mw.causal(), [[9]]), mw.within(mw.causal(), [9])),
    ]
    for one, none in pairs:
        assert one == none
        assert hash(one) == hash(none)
        why = one.bind(9, batch=3).explain(4, 2, b=2)
        assert (why.allowed, why.reason) == (one.bind(9).dense()[0, 0, 4, 2], none.bind(9).explain(4, 2).reason)


@pytest.mark.parametrize(
    "text",
    ["", "causal &", "(causal", "causal)", "causal()()", "sinks(1, 2)", "sinks()", "sinks(n=1, n=2)", "sinks(x=1)",
     "sinks(-1)", "sliding_window('8')", "causal & $", "__import__('os')", "causal.bind(3)", "sinks(1e9)",
     "sinks(" + "9" * 40 + ")", "~" * 1000 + "causal", "(" * 1000 + "causal" + ")" * 1000, "document([1, 2)",
     "within(causal)", "causal and full", "lambda: 0", "causal;full", "ｃausal", "sinks(٣)", "document(" + "[" * 200,
     "causal\ud800"],
)  # fmt: skip
def test_bad_text_is_a_parse_error_with_a_caret(text: str):
    with pytest.raises(ParseError) as error:
        mw.parse(text)
    *_, shown, caret = str(error.value).splitlines()
    assert caret.strip() == "^"
    assert caret.index("^") <= len(shown)
    str(error.value).encode()


def test_a_long_text_costs_its_length_not_its_square():
    text = " | ".join(f"sinks({i})" for i in range(6000))
    mask = mw.parse(text)
    assert mw.parse(repr(mask)) == mask
    with pytest.raises(ParseError, match="100000 characters"):
        mw.parse(text + " " * 100_000)


def test_binding_strength_is_pythons():
    a, b, c = mw.causal(), mw.sinks(2), mw.prefix(3)
    assert mw.parse("causal | sinks(2) & prefix(3)") == a | (b & c)
    assert mw.parse("causal & sinks(2) - prefix(3)") == a & (b - c)
    assert mw.parse("~causal & sinks(2)") == ~a & b
    assert mw.parse("causal - sinks(2) - prefix(3)") == (a - b) - c
    for mask in (mw.sliding_window(2**62), a.shift(q=2**31 - 1, k=-(2**31) + 1), mw.document(ids=[-(2**62)])):
        assert mw.parse(repr(mask)) == mask
    assert mw.parse("within([causal, full], lengths=[2, 3])") == mw.within([a, mw.full()], [2, 3])


def test_lengths_that_would_wrap_round_are_refused():
    for lengths in ([2**62] * 4 + [4], [2**31], [2**30, 2**30]):
        with pytest.raises(MaskError):
            mw.document(np.array(lengths)).bind(4)
    with pytest.raises(MaskError, match="at most"):
        mw.padding(np.array([2**64 - 1], dtype=np.uint64))
    assert mw.document([2**30]).bind(4, q_start=0).allowed == 16, "no table longer than what is asked"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.within(5, [1]), "takes masks"),
        (lambda: mw.within(mw.padding([1, 2]), [[1], [1], [1]]), "2 and 3 rows"),
        (lambda: mw.padding([]), "one number for each batch row"),
        (lambda: mw.document(np.zeros((0, 3), dtype=int)), "batch row"),
        (lambda: mw.sliding_window(torch.tensor(True)), "must be an integer"),
        (lambda: mw.sliding_window(2**70), "at most"),
        (lambda: mw.padding([1, 2]).bind(3).subset_of(mw.padding([1, 2, 3])), "same batch and heads"),
        (lambda: mw.full().bind(3).subset_of(5), "compared with a mask"),
        (lambda: mw.prefix(torch.ones(3, device="meta").long()), "reshape"),
        (lambda: mw.parse("padding([1, 2]) & padding([1, 2, 3])"), "2 and 3 rows"),
        (lambda: mw.document([[1] * 25_000] + [[1]] * 12_000), "16777216 numbers"),
        (lambda: mw.tree([[-1] * 25_000] + [[-1]] * 12_000), "16777216 numbers"),
        (lambda: mw.global_tokens([[1] * 25_000] + [[1]] * 12_000), "16777216 numbers"),
        (lambda: mw.document([[3, 1], [2, -2]]), r"found -2 at \[1, 1\]; mend that one"),
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


def test_q_start_is_not_advised_to_be_negative():
    with pytest.raises(GridError, match=r"if the queries are the first positions$"):
        mw.causal().bind(4, 2)


def test_a_mask_says_what_a_bound_mask_has():
    for name in ("allowed", "explain", "show", "dense", "subset_of"):
        with pytest.raises(AttributeError, match=rf"mask\.bind\(q_len\)\.{name}$"):
            getattr(mw.causal(), name)
    with pytest.raises(AttributeError, match=r"no attribute 'weight'$"):
        _ = mw.causal().weight
    with pytest.raises(AttributeError, match="sliding_windows"):
        _ = mw.sliding_windows


def test_a_function_that_fails_says_how_it_is_called():
    for fn, error in ((lambda q, k: q >= k, TypeError), (lambda b, h, q, k: q >= k and q > 2, RuntimeError)):
        with pytest.raises(error) as caught:
            _ = mw.custom(fn, name="mine").bind(4).spans
        assert caught.value.__notes__[0].startswith("custom(mine) calls its function as fn(b, h, q_idx, kv_idx)")


def test_immutability_survives_pickling_and_copying():
    mask = mw.within(mw.causal() & mw.padding([2, 3]), [[1, 2], [3, 0]])
    again = pickle.loads(pickle.dumps(mask))
    assert again == mask
    assert hash(again) == hash(mask)
    assert not again.lengths.flags.writeable
    assert copy.deepcopy(mask) is copy.copy(mask) is mask
    bound = pickle.loads(pickle.dumps(mask.bind(3)))
    assert bound.spans == mask.bind(3).spans
    for spans in (bound.spans, pickle.loads(pickle.dumps(bound.spans))):
        assert not spans.starts.flags.writeable
    chosen = mask.bind(3).select(q=[2, 0])
    again = pickle.loads(pickle.dumps(chosen))
    assert again.mask == chosen.mask
    assert again.equals(chosen)
    assert copy.copy(chosen.mask) == chosen.mask


def test_masks_per_document_inside_another_packing():
    inner = mw.within([mw.empty(), mw.full()], [4, 1])
    outer = mw.within(inner, [[2, 3], [5, 0]])
    alone = mw.within(inner, [2, 3])
    assert np.array_equal(outer.bind(5).dense()[0], alone.bind(5).dense()[0])
    assert mw.within([mw.document([2]), mw.causal()], [2, 5]).bind(7).allowed == 4 + 15
