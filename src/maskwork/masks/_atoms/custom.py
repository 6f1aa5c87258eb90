"""Masks without structure: `custom` calls a function for each cell, `from_dense` reads an array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import spans as sp
from ...errors import GridError, MaskError, TooManySpans
from ...spans import Spans, single, take_rows
from .._arrays import PRINTED, Bools, Ints, as_array, as_int
from .._before_zero import from_zero
from .._extent import Extent
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import MAX_TEXT, Arrays, Spec

#: fn(b, h, q_idx, kv_idx) -> bool, each argument an integer tensor: FlexAttention's mask_mod.
MaskMod = Callable[[Any, Any, Any, Any], Any]

#: Most cells that one evaluation of a `custom` mask may take: a square of 65,536, minutes of work.
MAX_CELLS = 1 << 32


class _Custom(Mask):
    """The mask of `custom`."""

    single_pass = True

    def __init__(self, fn: MaskMod, name: str, depends_on: str, batch: int, heads: int) -> None:
        self.fn, self.name, self.depends_on = fn, name, depends_on
        self._batch, self._heads = batch, heads
        self.depends_on_query = "q" in depends_on

    def _spec(self) -> Spec:
        sizes = {"batch": self._batch, "heads": self._heads}
        return Spec("custom", (self.fn, self.name, self.depends_on), sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Custom, (self.fn, self.name, self.depends_on, self._batch, self._heads)

    @property
    def batch(self) -> int:
        return self._batch

    @property
    def heads(self) -> int:
        """Heads that the function tells apart, 1 when it is the same for all."""
        return self._heads

    def _write(self, arrays: Arrays) -> str:
        if arrays == "full":
            raise MaskError(
                f"a mask's text cannot carry a function, got {self!r}, which has none that can be read back; pickle it"
            )
        return f"custom({self.name})"

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        rows: Ints = np.zeros(1, dtype=np.int64)
        index: Ints = np.zeros((1, 1, 1), dtype=np.int64)
        if self.depends_on_query:
            rows, index = np.unique(queries, return_inverse=True)
            index = index.reshape(queries.shape)
        # The first cell decides a row that is the same for all keys.
        keys = kv_len if "k" in self.depends_on else min(kv_len, 1)
        shape = (self._batch, self._heads, len(rows))
        cells = shape[0] * shape[1] * shape[2] * keys
        if cells > MAX_CELLS:
            raise TooManySpans(
                f"a custom mask may evaluate {MAX_CELLS} cells, got {cells} of {self!r}; ask for fewer rows by giving "
                "q_start, leave out of depends_on what fn does not read, or write the mask with the atoms"
            )
        if keys == kv_len:
            return take_rows(sp.scan_rows(self._evaluate(rows, keys), shape, kv_len), index)
        nothing = np.zeros((0, keys), dtype=np.bool_)
        allowed = np.concatenate([nothing, *self._evaluate(rows, keys)]).reshape(shape)
        return take_rows(single(0, np.where(allowed, kv_len, 0), kv_len), index)

    def _reason(self, cell: Cell, row: Row) -> str:
        allowed = any(start <= cell.key < end for start, end in row)
        return f"its function returns {allowed} for query {cell.query}, key {cell.key}"

    def _evaluate(self, rows: Ints, keys: int) -> Iterator[Bools]:
        """Yield the cells `(rows, keys)` of each batch row and head in pieces of consecutive rows."""
        # A mask needs torch only when its function is called; the geometry itself is NumPy's.
        torch: Any = import_module("torch")

        def cell_of(b: Any, h: Any, q: Any, k: Any) -> Any:
            cell = self.fn(b, h, q, k)
            return torch.tensor(cell) if isinstance(cell, bool) else cell

        # vmap passes one cell to the function, as FlexAttention does, so that the function may reduce or index.
        cells_of = torch.vmap(torch.vmap(cell_of, (None, None, None, 0)), (None, None, 0, None))
        key = torch.arange(keys)
        step = max(1, sp.CHUNK_CELLS // max(keys, 1))
        if keys and len(rows):
            self._check_reads(cells_of, torch.from_numpy(rows), key, step)
        for b in range(self._batch):
            for h in range(self._heads):
                for i in range(0, len(rows), step):
                    query = torch.from_numpy(rows[i : i + step])
                    if not keys:
                        yield np.zeros((len(query), 0), dtype=np.bool_)
                        continue
                    try:
                        cells = cells_of(torch.tensor(b), torch.tensor(h), query, key)
                    except Exception as error:
                        error.add_note(
                            f"{self!r} calls its function as fn(b, h, q_idx, kv_idx), each one number in a tensor, "
                            "under torch.vmap: write & | ~ and torch.where for and, or, not and if"
                        )
                        raise
                    if cells.dtype != torch.bool or cells.ndim != 2:
                        raise MaskError(
                            f"the function of {self!r} returns one bool a cell, got {cells.dtype} of shape "
                            f"{tuple(cells.shape[2:])}; compare, for instance with `> 0`"
                        )
                    yield cells.cpu().numpy()

    def _check_reads(self, cells_of: Callable[..., Any], rows: Any, key: Any, step: int) -> None:
        """Raise if the cells of batch row 1 or head 1 differ from those of 0 and `depends_on` leaves that axis out.

        Up to 256 rows, spread evenly, are compared. A function that only passes `b` or `h` on (as torch's `and_masks`
        does) is accepted, and so is a function that cannot look up row or head 1: it has 0 alone.
        """
        torch: Any = import_module("torch")
        sample = rows[:: -(-len(rows) // min(step, 256))]
        index_0, index_1 = torch.tensor(0), torch.tensor(1)
        first: Any = None
        for letter, second in (("b", (index_1, index_0)), ("h", (index_0, index_1))):
            if letter in self.depends_on:
                continue
            try:
                first = cells_of(index_0, index_0, sample, key) if first is None else first
                changed = bool((first != cells_of(*second, sample, key)).any())
            # A fault of the function itself is raised when all rows are evaluated, right after this check.
            except Exception:
                continue
            if changed:
                size = {"b": "batch=", "h": "heads="}[letter]
                raise MaskError(
                    f"depends_on names all that the function reads, got {self!r}, which reads {letter!r}, with "
                    f"depends_on={self.depends_on!r}; pass depends_on={letter + self.depends_on!r} and {size}"
                )


@atom(Form("custom(fn)", "fn(b, h, q, k)", "any rule, as FlexAttention's `mask_mod`"), parsed=False)
def custom(fn: MaskMod, name: str | None = None, depends_on: str = "qk", *, batch: int = 1, heads: int = 1) -> Mask:
    """Allow by any rule: `fn(b, h, q_idx, kv_idx) -> bool`, FlexAttention's `mask_mod` (Dong et al. 2024).

    The function is called for every cell, in pieces of 4 million, and only the runs are stored: never n x n memory, but
    n x n work. One evaluation may take 2**32 cells; beyond that it raises. Prefer the atoms, which cost n.

    Args:
        fn: called as `create_block_mask` calls it, under `torch.vmap`: four 0-D int64 tensors in, a bool tensor out.
            It must give the same answer each time. This loads torch.
        name: what `repr` prints; the function's own name when left out.
        depends_on: what `fn` reads, letters of "bhqk". Without "q", one row is evaluated, without "k" one cell per row:
            a letter that is left out is passed as 0. A function whose cells differ for another "b" or "h" is refused.
        batch: batch rows to evaluate, when `depends_on` has "b".
        heads: query heads to evaluate, when `depends_on` has "h".

    Raises:
        MaskError: `depends_on` has another letter, or `batch` or `heads` do not agree with it; on evaluation, `fn`
            returns something other than bools, or reads a batch row or head that `depends_on` does not name.
        TooManySpans: on evaluation, more cells or more runs than the budget.

    Two custom masks are equal when their function is the same object. A custom mask has no text form that `mw.parse`
    could read, and can be pickled when its function can.

    >>> import maskwork as mw
    >>> even = mw.custom(lambda b, h, q_idx, kv_idx: kv_idx % 2 == 0, name="even", depends_on="k")
    >>> (mw.causal() & even).bind(5).spans.row(3)
    [(0, 1), (2, 3)]
    >>> even
    custom(even)
    """
    if not callable(fn):
        raise MaskError(f"custom takes a function of (b, h, q_idx, kv_idx), got {fn!r:.60}; pass a mask_mod")
    if set(depends_on) - set("bhqk") or len(set(depends_on)) != len(depends_on):
        raise MaskError(f"depends_on names each of b, h, q, k at most once, got {depends_on!r}; pass for instance 'qk'")
    batch, heads = as_int(batch, "custom(batch)", minimum=1), as_int(heads, "custom(heads)", minimum=1)
    for letter, word, size in (("b", "batch", batch), ("h", "heads", heads)):
        if size > 1 and letter not in depends_on:
            raise MaskError(
                f"custom({word}={size}) evaluates each, but depends_on={depends_on!r} leaves it out; "
                f"add {letter!r} or drop {word}"
            )
    try:
        hash(fn)
    except TypeError:
        raise MaskError(
            f"custom tells masks apart by their function, got {fn!r:.60}, which has no hash; wrap it in one"
        ) from None
    order = "".join(letter for letter in "bhqk" if letter in depends_on)
    return _Custom(fn, name or getattr(fn, "__name__", type(fn).__name__), order, batch, heads)


class _FromDense(Mask):
    """The mask of `from_dense`: the array's runs, not the array."""

    def __init__(self, geometry: Spans) -> None:
        self.geometry = geometry

    def _spec(self) -> Spec:
        batch, heads, rows = self.geometry.shape
        shape = (rows, self.geometry.kv_len)
        shape = (batch, heads, *shape) if heads > 1 else (batch, *shape) if batch > 1 else shape
        array = self.geometry.dense().reshape(shape)
        array.setflags(write=False)
        return Spec("from_dense", (array,))

    def __reduce__(self) -> tuple[Any, ...]:
        sides = (self.geometry.planes_starts, self.geometry.planes_ends)
        return _from_planes, (*sides, self.geometry.kv_len)

    def _identity(self) -> tuple[Any, ...]:
        sides = (self.geometry.planes_starts, self.geometry.planes_ends)
        return ("from_dense", sides[0].shape, self.geometry.kv_len, *(side.tobytes() for side in sides))

    @property
    def batch(self) -> int:
        return self.geometry.shape[0]

    @property
    def heads(self) -> int:
        """Heads that the array tells apart, 1 when it is the same for all."""
        return self.geometry.shape[1]

    def _write(self, arrays: Arrays) -> str:
        batch, heads, rows = self.geometry.shape
        cells = batch * heads * rows * self.geometry.kv_len
        # An array without cells has no list that tells its shape.
        if 0 < cells <= (PRINTED if arrays == "short" else MAX_TEXT // 3):
            return super()._write(arrays)
        if arrays == "full":
            raise MaskError(
                f"a mask's text holds an array of 1 to {MAX_TEXT // 3} cells, {self!r} has {cells}, and none that can "
                "be read back; use to_json"
            )
        shape = [*([batch] if batch * heads > 1 else []), *([heads] if heads > 1 else []), rows, self.geometry.kv_len]
        size = "x".join(map(str, shape))
        # The digest is of the runs: the cells themselves are never stored.
        digest = hashlib.sha256(size.encode())
        digest.update(self.geometry.planes_starts.tobytes())
        digest.update(self.geometry.planes_ends.tobytes())
        return f"from_dense(<bool[{size}] {digest.hexdigest()[:8]}>)"

    def _check(self, extent: Extent) -> None:
        rows, keys = self.geometry.shape[2], self.geometry.kv_len
        if extent.queries > rows or extent.keys > keys:
            raise GridError(
                f"the array covers the grid's {extent.queries} queries and {extent.keys} keys, or cells would be "
                f"undefined, got {rows} and {keys} of {self!r}; make it larger, or bind a smaller grid"
            )
        if extent.full_length and max(rows, keys) > max(extent.queries, extent.keys):
            raise GridError(
                f"the array has exactly the grid's {extent.queries} queries and {extent.keys} keys, got {rows} and "
                f"{keys} of {self!r}; cut it, or bind a part of a longer sequence by giving q_start"
            )

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        geometry = self.geometry
        starts, ends = np.minimum(geometry.planes_starts, kv_len), np.minimum(geometry.planes_ends, kv_len)
        cut = Spans(starts, ends, kv_len).trim()
        return take_rows(cut, queries) if geometry.shape[2] > 1 else cut


def _from_planes(starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32], kv_len: int) -> Mask:
    return _FromDense(Spans(starts, ends, kv_len))


@atom(Form("from_dense(array)", "array[q, k]", "any cells at all"))
def from_dense(array: Any) -> Mask:
    """Allow the cells that an array marks: True = may attend. The array is read in pieces and stored as runs.

    Args:
        array: bool or 0/1 integers, `(Q, K)`, `(B, Q, K)` or `(B, H, Q, K)`: a list, an array or a tensor (one from a
            GPU is copied to the host). Row `q` and column `k` are absolute positions.

    Raises:
        MaskError: another shape, or other values. A float array of 0 and -inf is refused: pass `array == 0`.
        TooManySpans: more runs than a geometry may hold.
        GridError: on binding, the array is smaller than the grid.

    | library | its way to say `from_dense(array)` |
    | --- | --- |
    | `scaled_dot_product_attention(attn_mask)` | `array`, of dtype bool |
    | `nn.MultiheadAttention(attn_mask)`, `nn.Transformer` | `~array`: True means ignore |
    | Hugging Face 4-D masks | `array`, or 0 and the dtype's lowest number: pass `mask == 0` |

    >>> import maskwork as mw
    >>> mw.from_dense([[1, 0, 1], [0, 1, 1]]).bind(2, 3, q_start=0).spans.row(0)
    [(0, 1), (2, 3)]
    """
    cells = as_array(array, "from_dense(array)", "flags", (2, 3, 4))
    if cells.dtype.kind not in "biu":
        raise MaskError(
            f"from_dense takes bool or 0/1 integers, got dtype {cells.dtype}; of an additive mask pass `mask == 0`"
        )
    if cells.dtype != np.bool_ and cells.size and (cells.min() < 0 or cells.max() > 1):
        raise MaskError(f"from_dense takes 0 and 1, got {cells.min()} to {cells.max()}; pass `array != 0`")
    cells = {2: cells[None, None], 3: cells[:, None]}.get(cells.ndim, cells)
    batch, heads, rows, keys = cells.shape
    if not batch or not heads:
        raise MaskError(f"from_dense takes at least one batch row and head, got shape {cells.shape}; reshape it")
    return _FromDense(sp.scan_rows(_pieces(cells), (batch, heads, rows), keys))


def _pieces(cells: npt.NDArray[Any]) -> Iterator[Bools]:
    batch, heads, rows, keys = cells.shape
    step = max(1, sp.CHUNK_CELLS // max(keys, 1))
    for b, h in np.ndindex(batch, heads):
        for i in range(0, rows, step):
            yield cells[b, h, i : i + step].astype(np.bool_)
