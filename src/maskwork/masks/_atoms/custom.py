"""Masks without structure: `custom` calls a function for each cell, `from_dense` reads an array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import spans as sp
from ..._shared.plain_torch import plain_torch
from ...errors import GridError, MaskError, TooManySpans
from ...spans import Spans, single, take_rows
from .._arrays import PRINTED, Bools, Ints, as_array, as_int
from .._before_zero import from_zero
from .._extent import Extent
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import MAX_TEXT, Arrays, Spec
from .reads import Reads, reads_of

#: fn(b, h, q_idx, kv_idx) -> bool, each argument an integer tensor: FlexAttention's mask_mod.
MaskMod = Callable[[Any, Any, Any, Any], Any]

#: Most cells that one evaluation of a `custom` mask may take: a square of 65,536, minutes of work.
MAX_CELLS = 1 << 32


class _Custom(Mask):
    """The mask of `custom`. What the caller left out is None: `bind` fills it in, once the grid is known."""

    single_pass = True
    many_runs = True

    def __init__(self, fn: MaskMod, name: str, depends_on: str | None, batch: int | None, heads: int | None) -> None:
        self.fn, self.name, self.declared = fn, name, depends_on
        self._batch, self._heads = batch, heads

    def _spec(self) -> Spec:
        sizes = {"batch": self._batch, "heads": self._heads}
        return Spec("custom", (self.fn, self.name, self.depends_on), sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Custom, (self.fn, self.name, self.declared, self._batch, self._heads)

    @cached_property
    def _reads(self) -> Reads:
        return reads_of(self.fn)

    @cached_property
    def depends_on(self) -> str:
        """Letters of "bhqk" that the function reads."""
        return self._reads.letters if self.declared is None else self.declared

    @cached_property
    def depends_on_query(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether rows differ."""
        return "q" in self.depends_on

    @property
    def batch(self) -> int:
        return self._batch or 1

    @property
    def heads(self) -> int:
        """Heads that the function tells apart, 1 when it is the same for all or nobody has said yet."""
        return self._heads or 1

    def _resolve(self, batch: int | None, heads: int | None) -> Mask:
        self._check_declared()
        sizes: dict[str, int] = {}
        for letter, word, given, grid in (("b", "batch", self._batch, batch), ("h", "heads", self._heads, heads)):
            size = given
            if letter not in self.depends_on:
                size = 1
            elif size is None:
                size = self._size_of(letter, word, grid)
            sizes[letter] = size
        if (self.batch, self.heads) == (sizes["b"], sizes["h"]):
            return self
        resolved = _Custom(self.fn, self.name, self.declared, sizes["b"], sizes["h"])
        resolved.__dict__["_reads"] = self._reads  # traced once
        return resolved

    def _size_of(self, letter: str, word: str, grid: int | None) -> int:
        """Return for how many batch rows or heads the function is evaluated: the grid's, else its tables'."""
        table = self._reads.sizes.get(letter)
        if table == 1:
            return 1  # a table of one entry, which all share: there is nothing to tell apart
        if grid is None and table is None:
            raise GridError(
                f"a function that reads {letter!r} needs a grid that says how many there are, got none for {self!r}; "
                f"bind with {word}=, or pass {word}= to mw.custom"
            )
        if grid is not None and table is not None and grid > table:
            raise GridError(
                f"the function of {self!r} looks {letter!r} up among {table}, got a grid of {grid}; give its tables "
                f"an entry for each, or bind with {word}={table}"
            )
        return (grid or table) or 1

    def _check_declared(self) -> None:
        """Raise if `depends_on` leaves out b or h, which the function reads."""
        missing = "".join(letter for letter in "bh" if letter in self._reads.letters and letter not in self.depends_on)
        if missing:
            how = "may read, as it decides on them in Python," if self._reads.branches else "reads"
            sizes = " and ".join({"b": "batch=", "h": "heads="}[letter] for letter in missing)
            raise MaskError(
                f"depends_on names all that the function reads, got {self!r}, which {how} {missing!r}, with "
                f"depends_on={self.depends_on!r}; pass depends_on={missing + self.depends_on!r} and {sizes}, or neither"
            )

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
        shape = (self.batch, self.heads, len(rows))
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
            return torch.tensor(cell, device="cpu") if isinstance(cell, bool) else cell

        # vmap passes one cell to the function, as FlexAttention does, so that the function may reduce or index.
        cells_of = torch.vmap(torch.vmap(cell_of, (None, None, None, 0)), (None, None, 0, None))
        step = max(1, sp.CHUNK_CELLS // max(keys, 1))
        for b in range(self.batch):
            for h in range(self.heads):
                for i in range(0, len(rows), step):
                    part = rows[i : i + step]
                    if not keys:
                        yield np.zeros((len(part), 0), dtype=np.bool_)
                        continue
                    with plain_torch():
                        yield self._cells(torch, cells_of, b, h, part, keys)

    def _cells(self, torch: Any, cells_of: Callable[..., Any], b: int, h: int, rows: Ints, keys: int) -> Bools:
        """Return the cells of these rows in one batch row and head, after checking that they are bools."""
        try:
            cells = cells_of(torch.tensor(b), torch.tensor(h), torch.from_numpy(rows), torch.arange(keys))
        except Exception as error:
            error.add_note(
                f"{self!r} calls its function as fn(b, h, q_idx, kv_idx), each one number in a tensor on the CPU, "
                "under torch.vmap: write & | ~ and torch.where for and, or, not and if"
            )
            raise
        if cells.dtype != torch.bool or cells.ndim != 2:
            raise MaskError(
                f"the function of {self!r} returns one bool a cell, got {cells.dtype} of shape "
                f"{tuple(cells.shape[2:])}; compare, for instance with `> 0`"
            )
        return cells.cpu().numpy()


@atom(Form("custom(fn)", "fn(b, h, q, k)", "any rule, as FlexAttention's `mask_mod`"), parsed=False)
def custom(
    fn: MaskMod,
    name: str | None = None,
    depends_on: str | None = None,
    *,
    batch: int | None = None,
    heads: int | None = None,
) -> Mask:
    """Allow by any rule: `fn(b, h, q_idx, kv_idx) -> bool`, FlexAttention's `mask_mod` (Dong et al. 2024).

    The function is called for every cell, in pieces of 4 million, and only the runs are stored: never n x n memory, but
    n x n work. One evaluation may take 2**32 cells; beyond that it raises. Prefer the atoms, which cost n.

    What `fn` reads is seen from the data's flow: each argument is followed through it, so that no head or batch row is
    taken for another. A function that decides in Python on b or h is taken to read everything.

    Args:
        fn: called as `create_block_mask` calls it, under `torch.vmap`: four 0-D int64 tensors in, a bool tensor out.
            It must give the same answer each time. This loads torch. A query before position 0 has a negative index,
            which torch takes from a table's end.
        name: what `repr` prints; the function's own name when left out.
        depends_on: what `fn` reads, letters of "bhqk"; seen from `fn` when left out. Without "q", one row is evaluated,
            without "k" one cell per row: a letter that is left out is passed as 0. A function that reads b or h and
            does not say so is refused.
        batch: batch rows to evaluate where `fn` reads b; the grid's when left out, or as many as a table that `fn`
            indexes with b has entries.
        heads: query heads to evaluate where `fn` reads h, likewise.

    Raises:
        MaskError: `depends_on` has another letter, or `batch` or `heads` do not agree with it; on binding, `fn` reads
            b or h, and `depends_on` does not name it; on evaluation, `fn` returns something other than bools.
        GridError: on binding, `fn` reads b or h, and neither the grid nor a table says how many there are.
        TooManySpans: on evaluation, more cells or more runs than the budget.

    Two custom masks are equal when their function is the same object. A custom mask has no text form that `mw.parse`
    could read, and can be pickled when its function can.

    >>> import torch, maskwork as mw
    >>> even = mw.custom(lambda b, h, q_idx, kv_idx: kv_idx % 2 == 0, name="even")
    >>> (mw.causal() & even).bind(5).spans.row(3)
    [(0, 1), (2, 3)]
    >>> even
    custom(even)
    >>> window = torch.tensor([1, 1, 3, 3])
    >>> mw.custom(lambda b, h, q_idx, kv_idx: abs(q_idx - kv_idx) < window[h]).bind(8).shape
    (1, 4, 8, 8)
    """
    if not callable(fn):
        raise MaskError(f"custom takes a function of (b, h, q_idx, kv_idx), got {fn!r:.60}; pass a mask_mod")
    sizes = {
        word: None if size is None else as_int(size, f"custom({word})", minimum=1)
        for word, size in (("batch", batch), ("heads", heads))
    }
    if depends_on is not None:
        if set(depends_on) - set("bhqk") or len(set(depends_on)) != len(depends_on):
            raise MaskError(
                f"depends_on names each of b, h, q, k at most once, got {depends_on!r}; pass for instance 'qk', or "
                "leave it out"
            )
        depends_on = "".join(letter for letter in "bhqk" if letter in depends_on)
    try:
        hash(fn)
    except TypeError:
        raise MaskError(
            f"custom tells masks apart by their function, got {fn!r:.60}, which has no hash; wrap it in one"
        ) from None
    mask = _Custom(fn, name or getattr(fn, "__name__", type(fn).__name__), depends_on, sizes["batch"], sizes["heads"])
    for letter, (word, size) in zip("bh", sizes.items(), strict=True):
        if size is not None and size > 1 and letter not in mask.depends_on:
            raise MaskError(
                f"custom({word}={size}) evaluates each, but its function reads {mask.depends_on!r} alone, got no "
                f"{letter!r}; add {letter!r} or drop {word}"
            )
    return mask


class _FromDense(Mask):
    """The mask of `from_dense`: the array's runs, not the array."""

    many_runs = True

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
