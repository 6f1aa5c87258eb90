"""`custom` and `from_dense`: what a function or an array says, and where they stop."""

import pickle
from unittest import mock

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention.flex_attention import and_masks

import maskwork as mw
from maskwork import spans as sp
from maskwork.errors import GridError, MaskError, TooManySpans
from maskwork.masks._atoms import custom as _custom


def past(b, h, q_idx, kv_idx):
    return kv_idx <= q_idx


def test_heads_and_batch_are_told_apart():
    slopes = torch.tensor([1, 2, 3])
    mask = mw.custom(lambda b, h, q, k: (q - k) % slopes[h] <= b, depends_on="bhqk", batch=2, heads=3)
    b, h, q, k = np.ogrid[:2, :3, :5, :7]
    expected = (q - k) % (h + 1) <= b
    bound = mask.bind(5, 7, q_start=0)
    assert bound.shape == (2, 3, 5, 7)
    assert np.array_equal(bound.dense(), expected)
    assert np.array_equal((mask & mw.padding([3, 6])).bind(5, 7, q_start=0).dense(),
                          expected & (k < np.array([3, 6]).reshape(2, 1, 1, 1)))  # fmt: skip
    dense = mw.from_dense(expected)
    assert (dense.batch, dense.heads) == (2, 3)
    assert np.array_equal(dense.bind(4, 6, q_start=1).dense(), expected[..., 1:5, :6])


def test_a_function_sees_one_cell_as_in_flex_attention():
    """It may reduce, index and ignore its arguments: vmap keeps the other cells out of its sight."""
    table = torch.arange(12).reshape(3, 4) % 3 == 0
    rules = [
        (lambda b, h, q, k: torch.stack([q == k, k == 0]).any(), lambda q, k: (q == k) | (k == 0)),
        (lambda b, h, q, k: table[q, k], lambda q, k: table.numpy()[q, k]),
        (lambda b, h, q, k: True, lambda q, k: np.ones((3, 4), dtype=bool)),
        (lambda b, h, q, k: torch.zeros((), dtype=torch.bool), lambda q, k: np.zeros((3, 4), dtype=bool)),
        (lambda b, h, q, k: q.new_ones(1, dtype=torch.bool).all(), lambda q, k: np.ones((3, 4), dtype=bool)),
    ]
    for fn, expected in rules:
        assert np.array_equal(mw.custom(fn).bind(3, 4, q_start=0).dense()[0, 0], expected(*np.ogrid[:3, :4]))


@pytest.mark.parametrize("chunk", [1, 7, 20, 1 << 22])
def test_pieces_join(chunk: int):
    with mock.patch.object(sp, "CHUNK_CELLS", chunk):
        bound = mw.custom(past).bind(9)
        assert bound.equals(mw.causal())
        assert mw.from_dense(bound.dense()[0, 0]).bind(9).equals(mw.causal())


def test_only_what_is_read_is_evaluated():
    cells = []

    def count(b, h, q, k):
        return k >= 0

    def counted(rows, keys, evaluate=_custom._Custom._evaluate):
        cells.append(len(rows) * keys)
        return evaluate(mask, rows, keys)

    for depends_on, expected in (("", 1), ("q", 6), ("k", 8), ("qk", 48)):
        mask = mw.custom(count, depends_on=depends_on)
        with mock.patch.object(mask, "_evaluate", counted):
            assert mask.bind(6, 8, q_start=0).allowed == 48
        assert cells.pop() == expected
    assert mw.custom(count).depends_on == "k"
    mask = mw.custom(
        count, depends_on="qk"
    )  # ten documents of ten positions: positions restart, so ten rows of ten keys
    with mock.patch.object(mask, "_evaluate", counted):
        mw.within(mask, [10] * 10).bind(100).empty_rows()
    assert cells == [100]


def test_the_work_budget():
    mask = mw.custom(past)
    with pytest.raises(TooManySpans, match=f"evaluate {_custom.MAX_CELLS} cells"):
        mask.bind(2**17).empty_rows()
    assert mw.custom(past, depends_on="q").bind(2**20).spans.runs == 1  # one cell a row is within it
    with pytest.raises(TooManySpans, match="runs a row"):
        mw.custom(lambda b, h, q, k: (q + k) % 2 == 0).bind(2**15).empty_rows()
    with pytest.raises(TooManySpans, match="runs a row"):
        mw.from_dense(np.broadcast_to(np.arange(2**15) % 2 == 0, (2**15, 2**15)))


def test_a_batch_row_or_head_is_not_read_as_0_in_silence():
    ids = torch.tensor([[0, 0, 1], [0, 1, 1]])
    same = lambda b, h, q, k: ids[b, q] == ids[b, k]  # noqa: E731
    with pytest.raises(MaskError, match=r"reads 'b', with depends_on='qk'; pass depends_on='bqk' and batch="):
        _ = mw.custom(same, depends_on="qk").bind(3, batch=2).allowed
    assert mw.custom(same).bind(3).equals(mw.document(ids=ids))
    assert mw.custom(same, depends_on="bqk", batch=2).bind(3).equals(mw.document(ids=ids))
    some = lambda b, h, q, k: (h > 0) & (q >= k)  # noqa: E731
    with pytest.raises(MaskError, match=r"pass depends_on='hqk' and heads="):
        _ = mw.custom(some, depends_on="qk").bind(3).allowed
    with pytest.raises(GridError, match="bind with heads="):
        mw.custom(some).bind(3)
    assert mw.custom(some).bind(3, heads=2).dense().sum((-1, -2)).tolist() == [[0, 6]]
    assert mw.custom(and_masks(past)).bind(3).equals(mw.causal())  # begins with b.new_ones
    single = lambda b, h, q, k: ids[:1][b, q] == ids[:1][b, k]  # noqa: E731
    assert mw.custom(single).bind(3).equals(mw.document(ids=ids[0]))


def test_equality_is_the_functions_identity():
    other = lambda b, h, q_idx, kv_idx: kv_idx <= q_idx  # noqa: E731
    assert mw.custom(past) == mw.custom(past) != mw.custom(other)
    assert mw.custom(past, depends_on="kq") == mw.custom(past)
    assert repr(mw.custom(past) & mw.causal()) == "causal & custom(past)"
    assert mw.custom(past) & mw.custom(past) == mw.custom(past)
    mask = mw.custom(past)
    hash(mask)
    assert pickle.loads(pickle.dumps(mask)) == mask


def test_json_carries_no_function():
    with pytest.raises(MaskError, match="pickle it instead"):
        (mw.custom(past) & mw.causal()).to_json()
    with pytest.raises(MaskError, match="known atoms"):
        mw.Mask.from_json('{"maskwork":1,"mask":{"name":"custom","args":["print"]}}')


def test_heads_join_those_of_other_masks():
    mask = mw.custom(lambda b, h, q, k: k >= h, depends_on="hk", heads=3)
    assert (mask | mw.from_dense(np.ones((1, 3, 4, 4), dtype=bool))).heads == 3
    assert mask.bind(4, heads=3).allowed == 4 * (4 + 3 + 2)
    with pytest.raises(MaskError):
        mask & mw.from_dense(np.ones((1, 2, 4, 4), dtype=bool))
    with pytest.raises(GridError):
        mask.bind(4, heads=2)


def test_equal_arrays_are_equal_masks():
    cells = np.arange(36).reshape(6, 6) % 5 < 2
    mask = mw.from_dense(cells)
    assert mask == mw.from_dense(cells[None].astype(np.uint8)) == pickle.loads(pickle.dumps(mask))
    assert mask != mw.from_dense(~cells)
    assert mask != mw.from_dense(cells[:, :5])
    assert repr(mask).startswith("from_dense(<bool[6x6] ")
    assert repr(mw.from_dense([[1, 0]])) == "from_dense([[1, 0]])"
    for shape in ((0, 5), (3, 0), (2, 0, 5)):  # of which a list would not tell the shape
        none = mw.from_dense(np.zeros(shape, dtype=bool))
        assert none == mw.Mask.from_json(none.to_json()) == pickle.loads(pickle.dumps(none))
        assert repr(none).startswith(f"from_dense(<bool[{'x'.join(map(str, shape))}] ")
    cells[:] = False  # the mask keeps its own
    assert mask.bind(6).allowed == 15


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.custom("causal"), "takes a function"),
        (lambda: mw.custom(past, depends_on="qx"), "got 'qx'"),
        (lambda: mw.custom(past, depends_on="qq"), "at most once"),
        (lambda: mw.custom(past, batch=2), "add 'b'"),
        (lambda: mw.custom(past, heads=2), "add 'h'"),
        (lambda: mw.custom(lambda b, h, q, k: q - k).bind(3).allowed, "torch.int64"),
        (lambda: mw.custom(lambda b, h, q, k: torch.ones(2, dtype=torch.bool)).bind(3).allowed, r"shape \(2,\)"),
        (lambda: mw.from_dense(torch.zeros(3, 3)), "pass `mask == 0`"),
        (lambda: mw.from_dense([[2, 0]]), "got 0 to 2"),
        (lambda: mw.from_dense([[1], [1, 0]]), "array of flags, got"),
        (lambda: mw.from_dense([1, 0]), r"got shape \(2,\)"),
        (lambda: mw.from_dense(np.zeros((0, 2, 2), dtype=bool)), "at least one batch row"),
    ],
)
def test_bad_parameters(make, words: str):
    with pytest.raises(MaskError, match=words):
        make()


def test_an_array_covers_the_grid():
    mask = mw.from_dense(np.ones((3, 4), dtype=bool))
    assert mask.bind(3, 4, q_start=0).allowed == 12
    assert mask.bind(2, 2, q_start=1).allowed == 4
    for bind in (lambda: mask.bind(4, 4), lambda: mask.bind(2, 5, q_start=0), lambda: mask.bind(2, 3, q_start=2)):
        with pytest.raises(GridError, match="got 3 and 4 of"):
            bind()
    with pytest.raises(GridError, match="exactly"):
        mask.bind(2)


def test_a_function_that_fails_says_how_it_is_called():
    for fn, error in ((lambda q, k: q >= k, TypeError), (lambda b, h, q, k: q >= k and q > 2, RuntimeError)):
        with pytest.raises(error) as caught:
            _ = mw.custom(fn, name="mine").bind(4).spans
        assert caught.value.__notes__[0].startswith("custom(mine) calls its function as fn(b, h, q_idx, kv_idx)")


KINDS = {
    "a table of heads": (lambda t, b, h, q, k: (q >= k) & (q - k < t["window"][h]), "h"),
    "halves of heads": (lambda t, b, h, q, k: (q >= k) & ((h < 3) | (q - k < 2)), "h"),
    "grouped heads": (lambda t, b, h, q, k: (q >= k) & (q - k < t["groups"][h // 2]), "h"),
    "lengths": (lambda t, b, h, q, k: k < t["lengths"][b], "b"),
    "documents": (lambda t, b, h, q, k: t["ids"][b, q] == t["ids"][b, k], "b"),
    "a late row": (lambda t, b, h, q, k: torch.where(q > 700, k < t["lengths"][b], k >= 0), "b"),
    "both": (lambda t, b, h, q, k: (k + b + h) % 3 == 0, "bh"),
    "gather": (lambda t, b, h, q, k: k < t["lengths"].gather(0, b.reshape(1))[0], "b"),
    "Python's if": (lambda t, b, h, q, k: (q >= k) if int(h) < 2 else (q == k), "bh"),
    "Python's list": (lambda t, b, h, q, k: q - k < [8, 8, 2, 2, 1, 1][int(h)], "bh"),
    "NumPy": (lambda t, b, h, q, k: q - k < torch.tensor(np.array([8, 8, 2, 2, 1, 1])[h.numpy()]), "bh"),
}
TABLES = {
    "window": torch.tensor([8, 8, 2, 2, 64, 64]), "groups": torch.tensor([9, 9, 4]), "lengths": torch.tensor([2, 2, 1]),
    "ids": torch.tensor([[0] * 900, [0] * 900, [0] * 899 + [1]]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_function_reads_is_seen_and_not_sampled(kind: str):
    """Rows 0 and 1 agree, heads 0 and 1 agree, and rows 0 to 700 agree: whoever samples those sees no difference."""
    rule, reads = KINDS[kind]

    def fn(b, h, q, k):
        return rule(TABLES, b, h, q, k)

    length = 800 if kind == "a late row" else 12
    mask = mw.custom(fn)
    assert set(reads) <= set(mask.depends_on)
    bound = mask.bind(length, batch=3, heads=6)
    for b, h in ((0, 0), (0, 1), (2, 5), (1, 3)):
        place = torch.tensor(b), torch.tensor(h)
        cells = torch.vmap(torch.vmap(lambda q, k: fn(*place, q, k), (None, 0)), (0, None))  # noqa: B023
        expected = cells(torch.arange(length), torch.arange(length)).numpy()
        assert np.array_equal(bound.spans.plane(b, h).dense()[0, 0], expected), (b, h)
    for declared in ("qk", "q", "k", ""):
        with pytest.raises(MaskError, match="depends_on names all that the function reads"):
            mw.custom(fn, depends_on=declared).bind(length, batch=3, heads=6)


def test_sizes_come_from_the_grid_or_from_tables_or_are_asked_for():
    window = mw.custom(lambda b, h, q, k: q - k < TABLES["window"][h])
    assert window.bind(9).shape == (1, 6, 9, 9)
    assert window.bind(9, heads=2).shape == (1, 2, 9, 9)
    with pytest.raises(GridError, match="among 6, got a grid of 7"):
        window.bind(9, heads=7)
    for fn, word in ((lambda b, h, q, k: k % 2 == h % 2, "heads"), (lambda b, h, q, k: k > b, "batch")):
        with pytest.raises(GridError, match=f"bind with {word}="):
            mw.custom(fn).bind(9)
        assert mw.custom(fn).bind(9, **{word: 2}).allowed
        joined = mw.within(mw.custom(fn) | mw.sinks(1), [4, 5]) & mw.full()
        assert joined.bind(9, **{word: 3}).spans.shape[:2] == ((3, 1) if word == "batch" else (1, 3))
    q = torch.randn(2, 4, 9, 8)
    out = mw.attention(q, q, q, mw.custom(lambda b, h, q, k: (q >= k) & ((h < 3) | (k > 2 * b))))
    assert torch.allclose(out[:, :3], mw.attention(q, q, q, mw.causal())[:, :3], atol=1e-6)
    assert not torch.allclose(out[:, 3], mw.attention(q, q, q, mw.causal())[:, 3], atol=1e-2)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_it_is_evaluated_on_the_cpu_whatever_the_default_device(device: str):
    ids = torch.tensor([0, 0, 1])
    torch.set_default_device(device)
    try:
        bound = mw.custom(lambda b, h, q, k: (ids[q] == ids[k]) | (k == torch.tensor(0))).bind(3)
        assert bound.dense().astype(int)[0, 0].tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    finally:
        torch.set_default_device(None)


def test_a_function_may_be_traced_under_any_mode_or_transform():
    ids = torch.tensor([0, 0, 1])
    seen = []

    def inside(x):
        seen.append(mw.custom(lambda b, h, q, k: ids[q] == ids[k]).bind(3).allowed)
        return x.sum()

    torch.func.grad(inside)(torch.ones(2))
    torch.func.vmap(inside)(torch.ones(2, 2))
    with torch.inference_mode(), FakeTensorMode():
        inside(torch.ones(2))
    assert seen == [5, 5, 5]
