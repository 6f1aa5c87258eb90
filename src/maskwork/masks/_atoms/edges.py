"""`edges`: the cells of a list of pairs, as graphs give them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans
from .._arrays import Ints, as_ints, batch_of, batch_row
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec
from .ids import RunIndex, look_up, look_up_within


class _Graph(Mask):
    """The mask of `edges`: pairs sorted by query and key, each once, `(E,)` or `(B, E)`; pairs of -1 stand first."""

    many_runs = True

    def __init__(self, queries: Ints, keys: Ints) -> None:
        self.queries, self.keys = queries, keys

    def _spec(self) -> Spec:
        return Spec("edges", (self.queries, self.keys))

    @property
    def batch(self) -> int:
        return batch_of(self.queries)

    @cached_property
    def _index(self) -> list[RunIndex]:
        return [_runs_of(*pair) for pair in zip(np.atleast_2d(self.queries), np.atleast_2d(self.keys), strict=True)]

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # The last slot of each index is that of queries without edges: those before position 0 and beyond the list.
        return look_up(self._index, queries, kv_len)

    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        return look_up_within(self._index, queries, kv_len, extent)

    def _reason(self, cell: Cell, row: Row) -> str:
        edge = any(start <= cell.key < end for start, end in row)
        number = int((batch_row(self.queries, cell.batch) == cell.query).sum()) if cell.query >= 0 else 0
        return f"query {cell.query} has {number} edges, {'one' if edge else 'none'} of them to key {cell.key}"


@atom(Form("edges(queries, keys)", "", "`(q, k)` is one of the pairs: a graph's edges"))
def edges(queries: Any, keys: Any) -> Mask:
    """Allow the pairs `(queries[i], keys[i])`: attention along the edges of a graph (Velickovic et al. 2018, GAT).

    Time and memory are linear in the edges, as long as no query sees very many separate runs of keys.

    Args:
        queries: int `(E,)` or `(B, E)`, the query of each edge; -1 with the key -1 stands for no edge, so that batch
            rows may have different numbers of edges.
        keys: int of the same shape, the key of each edge. Pairs in any order; twice the same is once.

    Raises:
        MaskError: the shapes differ, or a number is below 0 where the other one is not.
        TooManySpans: on binding, a query's edges are so many separate runs that a table of all queries' would not fit.

    | library | its way to say `edges(q, k)` |
    | --- | --- |
    | PyTorch Geometric `edge_index` (from source to target) | `q, k = edge_index[1], edge_index[0]` |
    | DGL `graph.edges()` | `k, q = graph.edges()` |
    | `torch.sparse_coo_tensor(indices, …)` of rows and columns | `q, k = indices` |

    Edges that lie outside a grid say nothing about it. A node sees itself only if it has an edge to itself. Beside `&`,
    only the edges inside of the other masks' rows are looked up: in a window, a node of very many edges costs little.

    >>> import maskwork as mw
    >>> mw.edges([0, 0, 2], [1, 2, 0]).bind(3).dense().astype(int)[0, 0].tolist()
    [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    """
    q, k = (
        as_ints(side, f"edges({name})", ndims=(1, 2), minimum=-1, fill=-1)
        for name, side in (("queries", queries), ("keys", keys))
    )
    if q.shape != k.shape:
        raise MaskError(f"edges takes as many queries as keys, got shapes {q.shape} and {k.shape}; pass pairs")
    if ((q < 0) != (k < 0)).any():
        raise MaskError("edges takes -1 for both sides of a pair that is none, got it on one side; leave the pair out")
    if max(q.max(initial=0), k.max(initial=0)) >= 2**31 - 1:
        raise MaskError("edges join positions below 2**31 - 1, got a larger one; cut the graph into parts")
    # Sorted, each pair once and pairs of -1 in front: equal sets of edges are equal masks.
    rows = [_distinct_pairs(*pair) for pair in zip(np.atleast_2d(q), np.atleast_2d(k), strict=True)]
    width = max(pairs.shape[1] for pairs in rows)
    table = np.full((2, len(rows), width), -1, dtype=np.int64)
    for b, pairs in enumerate(rows):
        table[:, b, width - pairs.shape[1] :] = pairs
    return _Graph(*(as_ints(side, "edges", ndims=(1, 2), minimum=-1) for side in table))


def _distinct_pairs(queries: Ints, keys: Ints) -> Ints:
    """Return the pairs of one batch row, sorted by query and key, each once: `(2, pairs)`."""
    number = np.unique(queries[queries >= 0] * 2**31 + keys[queries >= 0])
    return np.stack(np.divmod(number, 2**31))


def _runs_of(queries: Ints, keys: Ints) -> RunIndex:
    """Return the runs of keys of every query of one batch row."""
    queries, keys = queries[queries >= 0], keys[queries >= 0]
    is_first = np.ones(len(keys), dtype=np.bool_)
    is_first[1:] = (np.diff(queries) != 0) | (np.diff(keys) != 1)
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(keys))[: len(first)] - 1
    names, name_of_run, number = np.unique(queries[first], return_inverse=True, return_counts=True)
    slot = np.full(int(queries.max(initial=-1)) + 2, len(names), dtype=np.int32)
    slot[names] = np.arange(len(names), dtype=np.int32)
    begin = np.append(number.cumsum() - number, 0).astype(np.int32)
    return RunIndex(keys[first].astype(np.int32), (keys[last] + 1).astype(np.int32), begin, name_of_run, slot)
