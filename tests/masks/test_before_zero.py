"""What each registered atom says of a query before position 0: its formula, its keys alone, or nothing."""

from collections.abc import Callable

import numpy as np
import pytest

import maskwork as mw
from maskwork.masks._text.registry import atoms

#: Six positions; the queries tested stand at -5 to 5.
N = 6

KEYS = {
    "full": mw.full(), "empty": mw.empty(), "sinks": mw.sinks(2), "prefix": mw.prefix([2, 4]),
    "padding": mw.padding(starts=2), "real": mw.real([1, 0, 1, 1, 0, 1]),
    "from_key_padding_mask": mw.from_key_padding_mask([True, False] * 3),
}  # fmt: skip

ARRAYS: dict[str, Callable[[], mw.Mask]] = {
    "document": lambda: mw.document(ids=[[0, 0, 1, 0, 1, -1], [0] * 6]),
    "within": lambda: mw.within(mw.full(), [4, 2]),
    "match": lambda: mw.match([0, 1, 1, 0, 0, 1], [1, 0, 1, 1, 0, 0]),
    "block_causal": lambda: mw.block_causal([1, 2, 3]),
    "random_blocks": lambda: mw.random_blocks(2, 2, 3, seed=1),
    "tree": lambda: mw.tree([-1, 0, 0, 1, 1, 2]),
    "neighborhood": lambda: mw.neighborhood((2, 3), (2, 2)),
    "packed": lambda: mw.packed(mw.full(), [2, 4], [3, 3]),
    "rectangles": lambda: mw.rectangles([[0, 4], [2, 6]], [[0, 3], [1, 6]], ["full", "causal"]),
    "from_spans": lambda: mw.from_spans([[0, 3]] * N, [[2, 5]] * N),
    "from_dense": lambda: mw.from_dense(np.arange(N * N).reshape(N, N) % 5 > 1),
    "from_cu_seqlens": lambda: mw.from_cu_seqlens([0, 2, 6]),
    "blocks": lambda: mw.blocks([[1, 0], [1, 1]], 3),
    "edges": lambda: mw.edges([0, 2, 5], [1, 2, 0]),
    "real_queries": lambda: mw.real_queries([1, 0, 1, 1, 0, 1]),
}

FIRST = np.array([2, 0, 4, 1, 3, -2])

FORMULAS: dict[str, tuple[mw.Mask, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "causal": (mw.causal(), lambda q, k: k <= q),
    "sliding_window": (mw.sliding_window(3), lambda q, k: (k <= q) & (k > q - 3)),
    "band": (mw.band(1, 6), lambda q, k: (k >= q - 1) & (k <= q + 6)),
    "chunked": (mw.chunked(4).shift(q=-4), lambda q, k: k // 4 == (q + 4) // 4),
    "dilated": (mw.dilated(3, 2), lambda q, k: (abs(q - k) <= 6) & ((q - k) % 2 == 0)),
    "global_tokens": (mw.global_tokens([1, 4]), lambda q, k: np.isin(q, [1, 4]) | np.isin(k, [1, 4])),
    "per_head": (mw.per_head([mw.band(None, 3)] * 2), lambda q, k: k <= q + 3),
    "per_row": (mw.per_row([mw.band(None, 3)] * 2), lambda q, k: k <= q + 3),
    "custom": (mw.custom(lambda b, h, q, k: (q + k) % 3 == 0), lambda q, k: (q + k) % 3 == 0),
}

Q, K = np.arange(-5, N)[:, None], np.arange(N)


def cells(mask: mw.Mask, q_start: int, q_len: int) -> np.ndarray:
    return mask.bind(q_len, N, q_start=q_start).dense()


def test_every_atom_has_its_line_here():
    missing = {atom.name for atom in atoms()} - {*KEYS, *ARRAYS, *FORMULAS, "from_key_bounds"}
    assert not missing, "say above what it lets a query before position 0 see"


@pytest.mark.parametrize("name", KEYS)
def test_a_mask_of_keys_is_the_same_for_all_queries(name: str):
    mask = KEYS[name]
    dense = cells(mask, -5, 5 + N)
    assert np.array_equal(dense, np.broadcast_to(cells(mask, 0, 1), dense.shape))


@pytest.mark.parametrize("name", [name for name in ARRAYS if hasattr(mw, name)])
def test_an_array_has_no_entry_before_position_0(name: str):
    mask = ARRAYS[name]()
    dense = cells(mask, -5, 5 + N)
    assert not dense[:, :, :5].any()
    assert dense.any()
    assert np.array_equal(dense[:, :, 5:], cells(mask, 0, N))
    assert np.array_equal(cells(~mask, -5, 5 + N), ~dense)
    assert not cells(mask, -5, 5).any()
    starts = np.array([-3, 0])  # a batch row before position 0, and one from there on
    both = np.broadcast_to(dense, (2, *dense.shape[1:]))
    ragged = mask.bind(3, N, q_start=starts, batch=2).dense()
    expected = np.stack([both[b, :, start + 5 : start + 8] for b, start in enumerate(starts)])
    assert np.array_equal(*np.broadcast_arrays(ragged, expected))
    explained = mask.bind(3, N, q_start=-3).explain(-2, 1)
    assert not explained.allowed
    assert "query -2" in str(explained)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_goes_on_before_position_0(name: str):
    mask, formula = FORMULAS[name]
    expected = formula(Q, K)
    assert expected[:5].any() or name in ("causal", "sliding_window")
    assert np.array_equal(*np.broadcast_arrays(cells(mask, -5, 5 + N), expected))


def test_bounds_of_keys_are_a_formula_of_the_query():
    mask = mw.from_key_bounds(FIRST, FIRST + 3)
    assert np.array_equal(cells(mask, -5, 5 + N)[0, 0], ~((FIRST <= Q) & (Q < FIRST + 3)))
