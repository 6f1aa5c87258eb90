"""Random sparse masks, each beside its plain definition; `strategies` holds the other masks."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, HEADS, LENGTH, Case, _joined, atoms, looked_up
from helpers.strategies_given import given_atoms

numbers = st.integers(0, LENGTH + 2)


def _in_row(values: np.ndarray, b: np.ndarray) -> np.ndarray:
    return values[np.minimum(b, len(values) - 1)]


@st.composite
def global_tokens(draw: st.DrawFn) -> Case:
    sets = st.lists(numbers, max_size=4)
    if not draw(st.booleans()):
        chosen = draw(sets)
        return Case(mw.global_tokens(chosen), lambda b, h, q, k: np.isin(q, chosen) | np.isin(k, chosen))
    rows = [draw(sets) for _ in range(BATCH)]
    table = np.array([[i in row for i in range(4 * LENGTH)] for row in rows])
    return Case(mw.global_tokens(rows), lambda b, h, q, k: table[b, q] | table[b, k])


@st.composite
def dilated(draw: st.DrawFn) -> Case:
    hops, rate = draw(numbers), draw(st.integers(1, LENGTH))
    return Case(mw.dilated(hops, rate), lambda b, h, q, k: (abs(q - k) <= hops * rate) & ((q - k) % rate == 0))


def _splitmix64(state: int) -> int:
    """Return the next number of the generator, written as its authors print it, in Python's integers."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def floyd(per_row: int, blocks: int, seed: int, row: int) -> set[int]:
    """Sample the blocks of one row by Floyd's algorithm, written as its authors print it."""
    chosen: set[int] = set()
    for i, top in enumerate(range(blocks - per_row, blocks)):
        pick = _splitmix64((_splitmix64((_splitmix64(seed) + row) % 2**64) + i) % 2**64) % (top + 1)
        chosen.add(top if pick in chosen else pick)
    return chosen


@st.composite
def random_blocks(draw: st.DrawFn) -> Case:
    size = draw(st.integers(1, 5))
    blocks = draw(st.integers(-(-LENGTH // size), LENGTH + 2))
    per_row, seed = draw(st.integers(0, blocks)), draw(st.integers(0, 2**53 - 1))
    table = np.array([[j in floyd(per_row, blocks, seed, i) for j in range(blocks)] for i in range(blocks)])
    return Case(
        mw.random_blocks(per_row, size, blocks, seed), looked_up(lambda b, h, q, k: table[q // size, k // size])
    )


@st.composite
def tree(draw: st.DrawFn) -> Case:
    rows = BATCH if draw(st.booleans()) else 1
    parents = [[draw(st.one_of(st.just(i - 1), st.integers(-1, i - 1))) for i in range(LENGTH)] for _ in range(rows)]
    sees = np.zeros((rows, LENGTH, LENGTH), dtype=bool)
    for b, row in enumerate(parents):
        for i in range(LENGTH):
            ancestor = i
            while ancestor >= 0:
                sees[b, i, ancestor] = True
                ancestor = row[ancestor]
    mask = mw.tree(parents if rows > 1 else parents[0])
    return Case(mask, looked_up(lambda b, h, q, k: sees[np.minimum(b, rows - 1), q, k]))


@st.composite
def neighborhood(draw: st.DrawFn) -> Case:
    shape = draw(
        st.sampled_from([(12,), (17,), (3, 4), (2, 6), (4, 6), (5, 3), (2, 2, 3), (3, 2, 2), (4, 4, 2), (2, 2, 2, 2)])
    )
    kernel = tuple(draw(st.integers(1, n)) for n in shape)
    tile = tuple(draw(st.sampled_from([i for i in range(1, n + 1) if n % i == 0])) for n in shape)
    tile = draw(st.sampled_from([shape, tile]))
    # Cells in the order of their positions: by tile, then inside the tile.
    cells = sorted(np.ndindex(*shape), key=lambda c: ([i // t for i, t in zip(c, tile, strict=True)], c))
    sees = np.ones((len(cells), len(cells)), dtype=bool)
    for axis, (n, w) in enumerate(zip(shape, kernel, strict=True)):
        coordinate = np.array([c[axis] for c in cells])
        centre = np.clip(coordinate, w // 2, n - 1 - (w - 1) // 2)[:, None]  # nearest with its window inside
        sees &= (centre - w // 2 <= coordinate) & (coordinate <= centre + (w - 1) // 2)
    return Case(mw.neighborhood(shape, kernel, tile=tile), looked_up(lambda b, h, q, k: sees[q, k]))


@st.composite
def from_dense(draw: st.DrawFn) -> Case:
    rows = BATCH if draw(st.booleans()) else 1
    density = draw(st.sampled_from([0.1, 0.5, 0.9]))
    sees = np.random.default_rng(draw(st.integers(0, 2**32))).random((rows, LENGTH, LENGTH)) < density
    value = draw(st.sampled_from([sees, sees.astype(np.int64), torch.tensor(sees), sees[:, None]]))
    mask = mw.from_dense(value if rows > 1 else sees[0])
    return Case(mask, looked_up(lambda b, h, q, k: sees[np.minimum(b, rows - 1), q, k]))


@st.composite
def custom(draw: st.DrawFn) -> Case:
    """Draw a rule that reads only some of b, q and k: a sum in a remainder class."""
    depends_on = draw(st.sampled_from(["", "q", "k", "qk", "b", "bk", "qb", "bqk"]))
    modulus, lowest = draw(st.integers(2, 5)), draw(st.integers(0, 3))
    b1, q1, k1 = (int(letter in depends_on) for letter in "bqk")

    def rule(b, q, k):
        return (2 * b1 * b + q1 * q * q + 3 * k1 * k + k1 * q1 * q * k) % modulus >= lowest

    mask = mw.custom(lambda b, h, q_idx, kv_idx: rule(b, q_idx, kv_idx), "rule", depends_on,
                     batch=BATCH if b1 else 1)  # fmt: skip
    return Case(mask, lambda b, h, q, k: rule(b, q, k))


@st.composite
def blocks(draw: st.DrawFn) -> Case:
    rows, sides = draw(st.sampled_from([1, BATCH])), (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    shape = (rows, draw(st.sampled_from([1, HEADS])), *(-(-2 * LENGTH // side) for side in sides))
    table = np.random.default_rng(draw(st.integers(0, 2**32))).random(shape) < draw(st.sampled_from([0.2, 0.5, 0.8]))
    i, j = sides

    def cell(b, h, q, k):
        return table[np.minimum(b, rows - 1), np.minimum(h, shape[1] - 1), q // i, k // j]

    return Case(mw.blocks(table, sides), looked_up(cell))


@st.composite
def edges(draw: st.DrawFn) -> Case:
    rows, count = draw(st.sampled_from([1, BATCH])), draw(st.integers(0, 30))
    pairs = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, LENGTH, (2, rows, count))
    sees = np.zeros((rows, 3 * LENGTH, 3 * LENGTH), dtype=bool)
    sees[np.arange(rows)[:, None], pairs[0], pairs[1]] = True
    mask = mw.edges(*(pairs if rows > 1 else pairs[:, 0]))
    return Case(mask, looked_up(lambda b, h, q, k: sees[np.minimum(b, rows - 1), q, k]))


@st.composite
def real_queries(draw: st.DrawFn) -> Case:
    rows = draw(st.sampled_from([1, BATCH]))
    marks = np.random.default_rng(draw(st.integers(0, 2**32))).random((rows, LENGTH)) < 0.6
    return Case(
        mw.real_queries(marks if rows > 1 else marks[0]),
        looked_up(lambda b, h, q, k: marks[np.minimum(b, rows - 1), q]),
    )


@st.composite
def widths(draw: st.DrawFn) -> Case:
    """Draw a band with a width for each batch row, head or both."""
    sides = [
        np.array(draw(st.lists(st.integers(0, 6), min_size=BATCH * HEADS, max_size=BATCH * HEADS))).reshape(
            BATCH, HEADS
        )
        for _ in range(2)
    ]
    sides = [side[:, :1] if draw(st.booleans()) else side for side in sides]

    def width(side, b, h):
        return side[np.minimum(b, BATCH - 1), np.minimum(h, side.shape[1] - 1)]

    return Case(mw.band(*sides), lambda b, h, q, k: (q - width(sides[0], b, h) <= k) & (k <= q + width(sides[1], b, h)))


@st.composite
def near_chunks(draw: st.DrawFn) -> Case:
    size, left, right = draw(st.integers(1, 5)), draw(st.integers(0, 3)), draw(st.integers(0, 3))

    def cell(b, h, q, k):
        return (k // size - q // size >= -left) & (k // size - q // size <= right)

    return Case(mw.chunked(size, left=left, right=right), cell)


more_atoms = st.one_of(blocks(), edges(), real_queries(), widths(), near_chunks())
sparse_atoms = st.one_of(
    global_tokens(),
    dilated(),
    random_blocks(),
    tree(),
    neighborhood(),
    from_dense(),
    custom(),
    more_atoms,
    given_atoms,
)
sparse_cases = st.recursive(st.one_of(sparse_atoms, sparse_atoms, atoms()), _joined, max_leaves=6)
