"""`explain` tells the truth, its terms settle the cell, and no fewer terms would."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import LENGTH, Case, cases
from maskwork.masks._atoms.documents import _Within
from maskwork.masks._atoms.per import _PerHead, _PerRow
from maskwork.masks._joined import And, Not, Or, Xor
from maskwork.masks._mask import Mask
from maskwork.masks._shift import Shift

Path = tuple[Mask, ...]


class Formula:
    """A mask at one cell as a formula over its leaf occurrences, each a column of a truth table."""

    def __init__(self, mask: Mask, q: int, k: int, b: int, h: int) -> None:
        self.leaves: list[Path] = []
        self.truth: list[bool] = []
        self.plane = b, h
        self.root = self._node(mask, q, k, ())

    def _leaf(self, path: Path, q: int, k: int) -> int:
        """A leaf's own value, read off its dense form."""
        self.leaves.append(path)
        if min(q, k) < 0:  # what `shift` brought in from before position 0
            self.truth.append(False)
            return len(self.leaves) - 1
        reach, (b, h) = max(q, k) + 1, self.plane
        dense = path[-1].bind(reach, reach, q_start=0).dense()
        self.truth.append(bool(dense[b if len(dense) > 1 else 0, h if dense.shape[1] > 1 else 0, q, k]))
        return len(self.leaves) - 1

    def _node(self, mask: Mask, q: int, k: int, path: Path):
        path = (*path, mask)
        b, h = self.plane
        if isinstance(mask, Not):
            return ("~", [self._node(mask.operand, q, k, path)])
        if isinstance(mask, (And, Or, Xor)):
            return (mask.sign, [self._node(operand, q, k, path) for operand in mask.operands])
        if isinstance(mask, _PerHead):
            return ("&", [self._node(mask.operands[h], q, k, path)])
        if isinstance(mask, _PerRow):
            return ("&", [self._node(mask.operands[b], q, k, path)])
        if isinstance(mask, Shift):
            q, k = q - mask.q, k - mask.k
            return self._leaf(path, q, k) if min(q, k) < 0 else ("&", [self._node(mask.operand, q, k, path)])
        if isinstance(mask, _Within):
            lengths = np.atleast_2d(mask.lengths)[b if mask.lengths.ndim == 2 else 0]
            of, start = np.repeat(np.arange(len(lengths)), lengths), np.repeat(lengths.cumsum() - lengths, lengths)
            same = self._leaf((*path, mw.document(mask.lengths)), q, k)
            if of[q] != of[k]:
                return same
            inner = mask.masks[of[q] if len(mask.masks) > 1 else 0]
            return ("&", [same, self._node(inner, q - start[q], k - start[k], path)])
        return self._leaf(path, q, k)

    def value(self, columns: np.ndarray, node=None) -> np.ndarray:
        node = self.root if node is None else node
        if isinstance(node, int):
            return columns[node]
        sign, parts = node
        values = np.array([self.value(columns, part) for part in parts])
        if sign == "~":
            return ~values[0]
        return {"&": np.logical_and, "|": np.logical_or, "^": np.logical_xor}[sign].reduce(values)

    def settles(self, fixed: dict[int, bool], outcome: bool) -> bool:
        """Whether every assignment that agrees with `fixed` gives `outcome`."""
        n = len(self.leaves)
        columns = (np.arange(2**n) >> np.arange(n)[:, None] & 1).astype(bool)
        agree = np.all([columns[i] == value for i, value in fixed.items()], axis=0)
        return bool((self.value(columns)[np.broadcast_to(agree, 2**n)] == outcome).all())


def paths(why: mw.Explanation, path: Path = ()) -> list[tuple[Path, bool]]:
    path = (*path, why.mask)
    if not why.children:
        return [(path, why.allowed)]
    return [found for child in why.children for found in paths(child, path)]


positions = st.integers(0, LENGTH - 1)


@settings(max_examples=300)
@given(cases, positions, positions, st.integers(0, 2), st.integers(0, 3))
def test_explain_agrees_with_the_dense_cell(case: Case, q: int, k: int, b: int, h: int):
    b, h = b % case.mask.batch, h % case.mask.heads
    why = case.mask.bind(LENGTH, LENGTH, q_start=0).explain(q, k, b, h)
    assert why.allowed == bool(case.dense(0, LENGTH, LENGTH)[b, h, q, k])
    assert len(str(why).splitlines()) == 1 + sum(1 for _ in nodes(why))
    assert all(term.children == () for term in why.terms)


def nodes(why: mw.Explanation):
    yield why
    for child in why.children:
        yield from nodes(child)


def both_ways(three: tuple[Case, ...]) -> Case:
    a, b, c = three
    mask = a.mask & (b.mask | c.mask) if len(repr(a.mask)) % 2 else a.mask | (b.mask & c.mask)
    return Case(mask, a.cell)


# At the top an operator, so that most examples have a choice of operands.
joined = st.recursive(cases, lambda inner: st.tuples(inner, inner, inner).map(both_ways), max_leaves=6)


@settings(max_examples=200)
@given(joined, positions, positions, st.integers(0, 2), st.integers(0, 3))
def test_its_terms_settle_the_cell_and_no_fewer_do(case: Case, q: int, k: int, b: int, h: int):
    b, h = b % case.mask.batch, h % case.mask.heads
    formula = Formula(case.mask, q, k, b, h)
    n = len(formula.leaves)
    assume(n <= 7 and len(set(formula.leaves)) == n)
    why = case.mask.bind(LENGTH, LENGTH, q_start=0).explain(q, k, b, h)
    named = {formula.leaves.index(path): value for path, value in paths(why)}
    assert len(named) == len(why.terms), "each occurrence is named once"
    assert all(formula.truth[i] == value for i, value in named.items())
    assert formula.settles(named, why.allowed)
    for size in range(len(named)):
        for chosen in combinations(range(n), size):
            assert not formula.settles({i: formula.truth[i] for i in chosen}, why.allowed), "a smaller set is enough"


def test_the_smallest_blocked_operand_is_chosen():
    wide = mw.sliding_window(2) | mw.sinks(1) | mw.prefix(2)
    assert [term.mask for term in (wide & mw.padding(3)).bind(9).explain(8, 5).terms] == [mw.padding(3)]
    assert len(wide.bind(9).explain(8, 5).terms) == 3
    assert [term.mask for term in (~wide).bind(9).explain(8, 0).terms] == [mw.prefix(2)], "~ turns | round"


def test_positions_restart_inside_within():
    why = mw.within([mw.causal(), mw.within(mw.sinks(1), [1, 4])], [3, 5]).bind(8).explain(6, 5)
    assert not why.allowed
    (term,) = why.terms
    assert (term.mask, term.query, term.key) == (mw.sinks(1), 2, 1)
    assert "document 1 [3, 8)" in str(why)
    assert "key 1 is not among the first 1 keys" in str(why)


def test_each_atom_gives_its_numbers():
    def reason(mask: mw.Mask, q: int, k: int, b: int = 0) -> str:
        return mask.bind(16, 16, q_start=0).explain(q, k, b).reason

    assert reason(mw.sliding_window(8), 12, 3) == "key 3 is 9 behind query 12, window sees 8"
    assert reason(mw.causal(), 3, 12) == "key 12 is 9 ahead of query 3"
    assert reason(mw.causal(), 3, 3) == "key 3 is query 3 itself"
    assert reason(mw.prefix([2, 5]), 3, 4, 1) == "key 4 is in the prefix of 5 keys"
    assert reason(mw.padding([2, 5]), 3, 4) == "key 4 is none of the real keys, there are 2 of them"
    assert reason(mw.padding(starts=5), 3, 6) == "key 6 is one of the real keys, they start at 5"
    ids = [0] * 15 + [-1]
    assert "belongs to no document" in reason(mw.document(ids=ids), 3, 15)
    assert reason(mw.document([4, 0, 12]), 3, 4) == "query 3 is in document 0 [0, 4), key 4 in document 2 [4, 16)"
    assert reason(mw.band(2, None), 3, 9) == "key 9 is 6 ahead of query 3, band sees 2 behind and all ahead"
    assert reason(mw.chunked(4), 3, 9) == "query 3 is in chunk 0, key 9 in chunk 2"
    assert reason(mw.block_causal([4, 12]), 3, 9) == "query 3 is in block 0, key 9 in block 1"
    assert reason(mw.real([1] * 15 + [0]), 3, 15) == "key 15 is not marked real"
    assert "id 1, key 9 has id -1; an id below 0 matches" in reason(mw.match([1] * 16, [-1] * 16), 3, 9)
    assert reason(mw.sinks(2).shift(q=1, k=2), 3, 9) == "query 3 and key 9 stand for query 2 and key 7"
    assert reason(mw.causal().shift(q=4), 3, 0).endswith("before position 0")
    assert reason(mw.per_row([mw.causal(), mw.full()]), 3, 9, 1) == "number 1 of its batch rows"
    assert reason(mw.causal() ^ mw.chunked(2), 3, 2) == "2 of 2 operands are allowed"
    assert reason(mw.global_tokens([3]), 3, 4) == "query 3 is a global token"
    assert reason(mw.global_tokens([3]), 4, 2) == "neither query 4 nor key 2 is a global token"
    expected = "key 5 is 4 behind query 9, window sees keys 3 apart, up to 6 away"
    assert reason(mw.dilated(2, 3), 9, 5) == expected
    assert reason(mw.random_blocks(1, 4, 4, 0), 9, 5).startswith("key 5 is in block 1, block 2 of query 9 drew [")
    assert reason(mw.tree([-1, *range(15)]), 9, 5) == "key 5 is an ancestor of query 9"
    assert reason(mw.neighborhood((4, 4), 3), 9, 3) == "query 9 is at (2, 1), key 3 at (0, 3), window is (3, 3)"
    tiled = mw.neighborhood((4, 4), 3, tile=(2, 2))
    assert reason(tiled, 5, 3) == "query 5 is at (0, 3), key 3 at (1, 1), window is (3, 3)"
    assert reason(mw.custom(lambda b, h, q, k: q == k), 9, 3) == "its function returns False for query 9, key 3"
    assert reason(mw.empty(), 0, 0) == "it allows no cell"


def test_an_atom_without_words_shows_the_keys_that_the_query_sees():
    from maskwork.masks._questions.explain import Cell, reason_of_row

    cell = Cell(12, 30, 0, 0, 64)
    assert reason_of_row(cell, []) == "query 12 sees no key"
    assert reason_of_row(cell, [(3, 5), (29, 31)]) == "query 12 sees keys [3, 5), [29, 31) with key 30"
    many = [(0, 1), (5, 6), (25, 26), (33, 34), (60, 61)]
    assert reason_of_row(cell, many) == "query 12 sees keys [5, 6), [25, 26), [33, 34), … without key 30"


def test_one_cell_of_a_million_tokens_does_not_evaluate_the_grid():
    bound = (mw.causal() & (mw.sliding_window(4096) | mw.sinks(4))).bind(2**20)
    assert not bound.explain(2**20 - 1, 500).allowed
    assert "spans" not in vars(bound), "the geometry of the grid was not needed"


@pytest.mark.parametrize("cell", [(2, 0), (8, 0), (3, 8), (3, 0, 1), (3, 0, 0, 1), (-1, 0), (3.0, 0)])
def test_a_cell_outside_the_grid_is_refused(cell: tuple):
    with pytest.raises(mw.errors.MaskError):
        mw.causal().bind(5, 8, q_start=3).explain(*cell)
