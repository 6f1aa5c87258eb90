"""`tree`: a token sees itself and its ancestors, as in speculative decoding."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans, check_budget, distinct, gather_runs, take_rows
from .._arrays import Ints, as_ints, batch_of
from .._extent import Extent, check_cover, from_zero
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

_ONE_PARENT_EACH = "give each position its parent, -1 where it has none"


class _Tree(Mask):
    """The mask of `tree`."""

    many_runs = True

    def __init__(self, parents: Ints) -> None:
        self.parents = parents

    def _spec(self) -> Spec:
        return Spec("tree", (self.parents,))

    @property
    def batch(self) -> int:
        return batch_of(self.parents)

    def _check(self, extent: Extent) -> None:
        check_cover(self, "parents number", np.array([self.parents.shape[-1]]), extent, fix=_ONE_PARENT_EACH)

    @cached_property
    def _chain_starts(self) -> Ints:
        """The first position of the chain that ends at each position: int64 `(B, K)`."""
        # In a chain, each token's parent is the position before it.
        #
        # position       0  1  2  3  4          0 - 1 - 2
        # parent        -1  0  1  1  3              |
        # chain start    0  0  0  3  3              3 - 4
        parents = np.atleast_2d(self.parents)
        positions: Ints = np.arange(parents.shape[1], dtype=np.int64)
        return np.maximum.accumulate(np.where(parents != positions - 1, positions, 0), axis=1)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        parents, chain_starts = np.atleast_2d(self.parents), self._chain_starts
        positions, index = distinct(queries)
        b = np.arange(len(parents))[:, None]
        # Walk to the roots, all queries at once and one chain per step: each chain of ancestors is one run.
        token = np.broadcast_to(positions, (len(parents), len(positions)))
        starts: list[Ints] = []
        ends: list[Ints] = []
        while not starts or (token >= 0).any():
            check_budget(len(starts) + 1, token.size)
            first = np.where(token >= 0, chain_starts[b, token], kv_len)
            starts.append(first)
            ends.append(token + 1)
            token = np.where(token >= 0, parents[b, np.minimum(first, parents.shape[1] - 1)], -1)
        walked = gather_runs(np.stack(starts)[:, :, None], np.stack(ends)[:, :, None], kv_len)
        return take_rows(walked, index)

    def _reason(self, cell: Cell, row: Row) -> str:
        if cell.key == cell.query:
            return cell.distance()
        is_ancestor = any(start <= cell.key < end for start, end in row)
        return f"key {cell.key} is {'an' if is_ancestor else 'no'} ancestor of query {cell.query}"


@atom(Form("tree(parents)", "", "`k` is `q` or one of its ancestors"))
def tree(parents: Any) -> Mask:
    """Allow `k` if it is `q` or an ancestor of `q`: a tree of drafts verified in one pass.

    SpecInfer (Miao et al. 2023), Medusa (Cai et al. 2024), EAGLE. Siblings do not see one another.

    Args:
        parents: int `(K,)` or `(B, K)`: the position of each token's parent, which comes before it, and -1 for a root.
            A prompt is a chain: `[-1, 0, 1, …]`. A list of lists may be ragged: roots fill it.

    Raises:
        MaskError: a parent is not before its child.
        GridError: on binding, fewer parents than the grid has positions.

    Medusa and EAGLE give the tree as paths or as a dense matrix over the drafts alone, and let every draft see the
    whole prompt; here the prompt is part of the tree. For chains, the runs of a row are as many as its chains.

    >>> import maskwork as mw
    >>> mw.tree([-1, 0, 0, 1]).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]]
    """
    # A row of a ragged list is filled up with roots, which see themselves alone.
    array = as_ints(parents, "tree(parents)", ndims=(1, 2), minimum=-1, fill=-1)
    children: Ints = np.arange(array.shape[-1], dtype=np.int64)
    late = np.argwhere(array >= children)
    if len(late):
        position = tuple(late[0].tolist())
        child, parent = position[-1], int(array[position])
        subscript = ", ".join(map(str, position))
        if parent == child:
            fault, fix = f"which is token {child} itself", "give a root -1"
        else:
            fault, fix = f"which comes after token {child}", "sort the tokens parents first, and number parents anew"
        raise MaskError(
            f"a parent in tree(parents) comes before its child, got parents[{subscript}] = {parent}, {fault}; {fix}"
        )
    return _Tree(array)
