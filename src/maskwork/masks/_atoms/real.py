"""`real` and `real_queries`: the key, or the query, is marked real, as Hugging Face's `attention_mask` marks it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...spans import Spans, list_runs, single
from .._arrays import Bools, as_bools, batch_of, batch_row
from .._before_zero import from_zero
from .._extent import Extent, check_cover
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

_FOUR_D = "pass one mark for each key, or a mask of (query, key) cells to mw.from_dense"


class _Real(Mask):
    """The mask of `real`."""

    depends_on_query = False
    many_runs = True

    def __init__(self, marks: Bools) -> None:
        self.marks = marks

    def _spec(self) -> Spec:
        return Spec("real", (self.marks,))

    @property
    def batch(self) -> int:
        return batch_of(self.marks)

    def _check(self, extent: Extent) -> None:
        fix = "give each key its mark; a decoding step appends one for its token"
        check_cover(self, "marks number", np.array([self.marks.shape[-1]]), extent, extent.keys, fix)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        marks = np.atleast_2d(self.marks)[:, :kv_len]
        # The marks rise by 1 where a run starts and fall by 1 where it ends.
        outside = np.zeros((len(marks), 1), dtype=np.int8)
        steps = np.diff(marks.view(np.int8), axis=1, prepend=outside, append=outside)
        row, start = np.nonzero(steps == 1)
        _, end = np.nonzero(steps == -1)
        return list_runs(row, start, end, (len(marks), 1, 1), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        marked = batch_row(self.marks, cell.batch)[cell.key]
        return f"key {cell.key} is {'' if marked else 'not '}marked real"


@atom(Form("real(array)", "", "key `k` is marked real"))
def real(array: Any) -> Mask:
    """Allow key `k` if it is marked real: Hugging Face's `attention_mask`, whose 1 means *a token* and 0 *padding*.

    Args:
        array: bool, or the integers 0 and 1, `(K,)` or `(B, K)`. Marks need not be contiguous.

    `real` puts no condition on queries: a padded query still has a row, whose output nobody should score.

    | library | its way to say `real(m)` |
    | --- | --- |
    | Hugging Face `attention_mask` | `m`, 1 = token |
    | `nn.MultiheadAttention`, `nn.Transformer*` `key_padding_mask` | `~m`: see `from_key_padding_mask` |

    >>> import maskwork as mw
    >>> (mw.causal() & mw.real([0, 1, 1])).bind(3).dense().astype(int)[0, 0].tolist()
    [[0, 0, 0], [0, 1, 0], [0, 1, 1]]
    """
    return _Real(as_bools(array, "real(array)", ndims=(1, 2), hint=_FOUR_D))


class _RealQueries(Mask):
    """The mask of `real_queries`."""

    def __init__(self, marks: Bools) -> None:
        self.marks = marks

    def _spec(self) -> Spec:
        return Spec("real_queries", (self.marks,))

    @property
    def batch(self) -> int:
        return batch_of(self.marks)

    def _check(self, extent: Extent) -> None:
        fix = "give each query its mark; a decoding step appends one for its token"
        check_cover(self, "marks number", np.array([self.marks.shape[-1]]), extent, extent.queries, fix)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        marks = np.atleast_2d(self.marks)
        batch = np.arange(len(marks)).reshape(-1, 1, 1)
        return single(0, np.where(marks[batch, queries], kv_len, 0), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        marked = batch_row(self.marks, cell.batch)[cell.query]
        return f"query {cell.query} is {'' if marked else 'not '}marked real"


@atom(Form("real_queries(array)", "", "query `q` is marked real"))
def real_queries(array: Any) -> Mask:
    """Allow every key to a query that is marked real, and none to the other queries: their output is 0.

    `real(m) & real_queries(m)` is the mask of padded batches in which padded queries see nothing either: xFormers'
    padded block-diagonal masks, the `q_mask` of Keras' `Attention`, the queries of JAX's segment ids.

    Args:
        array: bool, or the integers 0 and 1, `(Q,)` or `(B, Q)`. Marks need not be contiguous.

    Raises:
        GridError: on binding, a query has no mark. A query before position 0 has none and sees nothing.

    >>> import maskwork as mw
    >>> (mw.causal() & mw.real_queries([0, 1, 1])).bind(3).dense().astype(int)[0, 0].tolist()
    [[0, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return _RealQueries(as_bools(array, "real_queries(array)", ndims=(1, 2), hint=_FOUR_D))
