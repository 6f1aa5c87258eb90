"""`tree`: a token sees itself and its ancestors, as in speculative decoding."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans, check_budget, distinct, gather_runs, take_rows
from .._arrays import Ints, as_ints
from .._extent import Extent, check_cover
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.written import Written

_EACH = "give each position its parent, -1 where it has none"


class _Tree(Mask):
    """See `tree`."""

    def __init__(self, parents: Ints) -> None:
        self.parents = parents

    def _written(self) -> Written:
        return Written("tree", (self.parents,))

    @property
    def batch(self) -> int:
        return 1 if self.parents.ndim == 1 else len(self.parents)

    def _check(self, extent: Extent) -> None:
        check_cover(self, "parents number", np.array([self.parents.shape[-1]]), extent, mend=_EACH)

    @cached_property
    def _heads_of_chains(self) -> Ints:
        """int64 `(B, K)`: the first token of the unbroken stretch of only-just-born children that ends here."""
        parents = np.atleast_2d(self.parents)
        positions: Ints = np.arange(parents.shape[1], dtype=np.int64)
        return np.maximum.accumulate(np.where(parents != positions - 1, positions, 0), axis=1)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        parents, chains = np.atleast_2d(self.parents), self._heads_of_chains
        names, index = distinct(queries)
        b = np.arange(len(parents))[:, None]
        # A walk to the roots, all rows at once and a whole chain at a time: as many steps as the deepest has chains.
        at = np.broadcast_to(names, (len(parents), len(names)))
        starts: list[Ints] = []
        ends: list[Ints] = []
        while not starts or (at >= 0).any():
            check_budget(len(starts) + 1, at.size)
            first = np.where(at >= 0, chains[b, at], kv_len)
            starts.append(first)
            ends.append(at + 1)
            at = np.where(at >= 0, parents[b, np.minimum(first, parents.shape[1] - 1)], -1)
        walked = gather_runs(np.stack(starts)[:, :, None], np.stack(ends)[:, :, None], kv_len)
        return take_rows(walked, index)

    def _reason(self, cell: Cell, row: Row) -> str:
        if cell.key == cell.query:
            return cell.distance()
        seen = any(start <= cell.key < end for start, end in row)
        return f"key {cell.key} is {'an' if seen else 'no'} ancestor of query {cell.query}"


def tree(parents: Any) -> Mask:
    """`k` is `q` or an ancestor of `q`: a tree of drafts verified in one pass.

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
    array = as_ints(parents, "tree(parents)", ndims=(1, 2), minimum=-1, fill=-1)
    children: Ints = np.arange(array.shape[-1], dtype=np.int64)
    late = np.argwhere(array >= children)
    if len(late):
        place = tuple(late[0].tolist())
        child, parent = place[-1], int(array[place])
        where = ", ".join(map(str, place))
        if parent == child:
            found, mend = f"which is token {child} itself", "give a root -1"
        else:
            found, mend = f"which comes after token {child}", "sort the tokens parents first, and number parents anew"
        raise MaskError(
            f"a parent in tree(parents) comes before its child, got parents[{where}] = {parent}, {found}; {mend}"
        )
    return _Tree(array)
