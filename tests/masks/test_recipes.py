"""Our masks against definitions in papers and in libraries that the tests do not install."""

import numpy as np
import pytest
import torch

import maskwork as mw
from helpers.against import DOCUMENTS, ISLANDS, N, assert_same_cells


def test_next_scale():
    assert_same_cells(mw.recipes.next_scale([5, 9, 3, 7]), lambda b, h, q, k: DOCUMENTS[q] >= DOCUMENTS[k])


def test_streaming_llm():
    assert_same_cells(mw.recipes.streaming_llm(6, 2), lambda b, h, q, k: (k <= q) & ((q - k < 6) | (k < 2)))


def test_a_mask_mod_that_differs_in_the_batch_is_a_mask():
    def islands(b, h, q, k):
        return (q >= k) | ((ISLANDS[b, q] == ISLANDS[b, k]) & (ISLANDS[b, q] >= 0))

    mask = mw.recipes.multimodal(ISLANDS)
    assert_same_cells(mask, islands)
    assert mw.custom(islands, depends_on="bqk", batch=2).bind(N).equals(mask)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 4, 5)])
def test_natten_of_any_shape(shape: tuple[int, ...]):
    """Along each axis the window of 3 is moved inwards at an edge."""

    def natten(b, h, q, k):
        sees = q >= 0
        for n in reversed(shape):
            sees = sees & (((q % n).clamp(1, n - 2) - k % n).abs() <= 1)
            q, k = q // n, k // n
        return sees

    cells = int(np.prod(shape))
    assert_same_cells(mw.neighborhood(shape, 3), natten, cells, cells)


def test_bigbird_is_its_blocks():
    size, blocks = 3, 8
    bound = mw.recipes.bigbird(size, blocks, random=2, seed=5).bind(size * blocks)
    drawn = mw.random_blocks(2, size, blocks, 5).bind(size * blocks).dense()[0, 0]
    q, k = np.ogrid[: size * blocks, : size * blocks]
    i, j = q // size, k // size
    edge = (i == 0) | (j == 0) | (i == blocks - 1) | (j == blocks - 1)
    assert np.array_equal(bound.dense()[0, 0], (abs(i - j) <= 1) | edge | drawn)


def test_longformer_takes_an_even_window():
    with pytest.raises(mw.errors.MaskError, match="pass 8"):
        mw.recipes.longformer(7, [0])


def test_sliding_tile_takes_whole_tiles():
    with pytest.raises(mw.errors.MaskError, match="the tile dividing"):
        mw.recipes.sliding_tile((4, 6), (3, 2), (2, 2))


def test_trees_of_drafts():
    """Ancestors as Medusa gives them: every node by its path from the root."""
    paths = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    parents = [-1 if not path else paths.index(path[:-1]) for path in paths]
    ancestor = torch.tensor([[path[: len(other)] == other for other in paths] for path in paths])
    assert_same_cells(mw.tree(parents), lambda b, h, q, k: ancestor[q, k], len(paths), len(paths))
