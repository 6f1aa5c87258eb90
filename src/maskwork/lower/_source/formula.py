"""A mask as a formula of q and k in plain PyTorch, with the tables that the formula reads, for exported code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...errors import CannotExpress
from ...masks import Mask

#: Most numbers in one table of exported code: longer code is not readable.
MAX_TABLE = 4096


class Formula:
    """A writer of formulas for masks on one grid, and the tables that its formulas read.

    Attributes:
        q_len: number of queries.
        q_start: absolute position of the first query, or a tuple of one for each batch row; the code then has them
            in a tensor `q_start`.
        kv_len: number of keys.
        tables: values of each table by name.

    >>> import maskwork as mw
    >>> Formula(8, 8).write(mw.causal() | mw.sinks(3))
    '(k <= q) | (k < 3)'
    """

    def __init__(self, q_len: int, kv_len: int, q_start: int | tuple[int, ...] = 0) -> None:
        self.q_len, self.q_start, self.kv_len = q_len, q_start, kv_len
        self.tables: dict[str, npt.NDArray[np.int32]] = {}

    def write(self, mask: Mask) -> str:
        """Write the formula that is true where query `q` may see key `k`."""
        spec = mask._spec()
        name, args = spec.name, spec.args
        if name in ("&", "|", "^"):
            return f" {name} ".join(_bracketed(self.write(part)) for part in args)
        if name == "~":
            return f"~{_bracketed(self.write(args[0]))}"
        # An array argument has no plain formula, nor has a named one: such terms are written from their rows.
        if spec.keywords or not all(value is None or isinstance(value, int) for value in args):
            return self._from_rows(mask)
        return _plain_formula(name, args) or self._from_rows(mask)

    def _from_rows(self, mask: Mask) -> str:
        """Write the formula of any mask, from tables with the runs of each query."""
        bound = mask.bind(self.q_len, self.kv_len, q_start=self.q_start)
        spans = bound.spans
        batch, heads, rows = spans.shape
        if spans.runs * batch * heads * rows > MAX_TABLE:
            raise CannotExpress(
                f"code holds at most {MAX_TABLE} numbers per table, got {spans.runs * batch * heads * rows} for "
                f"{repr(mask)[:60]}; choose library 'maskwork', or a shorter grid"
            )
        # b and h index a table only where the mask differs along them
        lead = "".join(f"{axis}, " for axis, size in (("b", batch), ("h", heads)) if size > 1)
        row = "q - q_start[b]" if isinstance(self.q_start, tuple) else shifted("q", -self.q_start)
        parts: list[str] = []
        for starts, ends in zip(spans.planes_starts, spans.planes_ends, strict=True):
            shape = [size for size in (batch, heads) if size > 1] + [rows]
            first, last = (self._table(values.reshape(shape)) for values in (starts, ends))
            parts.append(f"({first}[{lead}{row}] <= k) & (k < {last}[{lead}{row}])")
        return parts[0] if len(parts) == 1 else " | ".join(f"({part})" for part in parts)

    def _table(self, values: npt.NDArray[np.int32]) -> str:
        """Store a table, each content once, and return its name."""
        for name, table in self.tables.items():
            if np.array_equal(table, values):
                return name
        name = f"table_{len(self.tables)}"
        self.tables[name] = values
        return name


def shifted(name: str, offset: int) -> str:
    """Return the source of `name + offset`."""
    return f"{name} {'-' if offset < 0 else '+'} {abs(offset)}" if offset else name


def _bracketed(text: str) -> str:
    return f"({text})" if " & " in text or " | " in text or " ^ " in text or not text.startswith("(") else text


def _plain_formula(name: str, args: Sequence[int | None]) -> str | None:
    """Return the formula of an atom whose parameters are numbers, None for other atoms."""
    if name == "band":
        left, right = args
        sides = [f"(k >= q - {left})"] * (left is not None) + [f"(k <= q + {right})"] * (right is not None)
        return " & ".join(sides) or "(k >= 0)"
    if name == "dilated":
        hops, rate = (number or 0 for number in args)
        return f"((q - k).abs() <= {hops * rate}) & ((q - k) % {rate} == 0)"
    template = _TEMPLATES.get(name)
    return template.format(*args) if template else None


# Formulas by name; {0} is the first parameter. Each reads k or q, so that the result is a tensor.
_TEMPLATES = {
    "full": "(k >= 0)",
    "empty": "(k < 0)",
    "causal": "(k <= q)",
    "sliding_window": "(k <= q) & (k > q - {0})",
    "prefix": "(k < {0})",
    "sinks": "(k < {0})",
    "padding": "(k < {0})",
    "chunked": "(q // {0} == k // {0})",
}
