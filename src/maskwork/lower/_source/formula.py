"""A mask as a formula of q and k in plain PyTorch, with the tables that it reads: what exported code says."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import CannotExpress
from ...masks import Mask

#: Numbers that exported code may hold in one table; beyond, code is for libraries and not for reading.
MAX_TABLE = 4096


class Formula:
    """Collects tables while `of` writes masks.

    >>> import maskwork as mw
    >>> Formula(8, 8).of(mw.causal() | mw.sinks(3))
    '(k <= q) | (k < 3)'
    """

    def __init__(self, q_len: int, kv_len: int, q_start: int = 0) -> None:
        self.queries, self.kv_len = np.arange(q_start, q_start + q_len), kv_len
        #: Name and values of each table.
        self.tables: dict[str, np.ndarray] = {}

    def of(self, mask: Mask) -> str:
        """The formula, which is true where query `q` may see key `k`; it binds at least as tightly as `&`."""
        spec = mask._spec()
        name, args, named = spec.name, spec.args, spec.keywords
        if name in ("&", "|", "^"):
            return f" {name} ".join(_bracketed(self.of(part)) for part in args)
        if name == "~":
            return f"~{_bracketed(self.of(args[0]))}"
        plain = _PLAIN.get(name)
        if plain and not named and all(value is None or isinstance(value, int) for value in args):
            return plain(*args)
        return self._from_rows(mask)

    def _from_rows(self, mask: Mask) -> str:
        """Any mask at all, from the exact runs of each query."""
        bound = mask.bind(len(self.queries), self.kv_len, q_start=int(self.queries[0]))
        spans = bound.spans
        batch, heads, rows = spans.shape
        if spans.runs * batch * heads * rows > MAX_TABLE:
            raise CannotExpress(
                f"code that stands alone holds at most {MAX_TABLE} numbers a table, {repr(mask)[:60]} needs "
                f"{spans.runs * batch * heads * rows} here; take the code for maskwork, or shorten the length"
            )
        at = "".join(f"{axis}, " for axis, size in (("b", batch), ("h", heads)) if size > 1)
        row = "q" if int(self.queries[0]) == 0 else f"q - {int(self.queries[0])}"
        parts: list[str] = []
        for starts, ends in zip(spans.planes_starts, spans.planes_ends, strict=True):
            names = []
            for values in (starts, ends):
                table = np.broadcast_to(values, (batch, heads, rows))
                names.append(self._table(table.reshape([size for size in (batch, heads) if size > 1] + [rows])))
            parts.append(f"({names[0]}[{at}{row}] <= k) & (k < {names[1]}[{at}{row}])")
        return parts[0] if len(parts) == 1 else " | ".join(f"({part})" for part in parts)

    def _table(self, values: np.ndarray) -> str:
        for name, known in self.tables.items():
            if known.shape == values.shape and (known == values).all():
                return name
        name = f"table_{len(self.tables)}"
        self.tables[name] = values
        return name


def _bracketed(text: str) -> str:
    return f"({text})" if " & " in text or " | " in text or " ^ " in text or not text.startswith("(") else text


def _band(left: int | None, right: int | None) -> str:
    sides = []
    if left is not None:
        sides.append(f"(k >= q - {left})")
    if right is not None:
        sides.append(f"(k <= q + {right})")
    return " & ".join(sides) or "(k >= 0)"


_PLAIN: dict[str, Any] = {
    "full": lambda: "(k >= 0) & (q >= 0)",
    "empty": lambda: "(k < 0) & (q < 0)",
    "causal": lambda: "(k <= q)",
    "sliding_window": lambda size: f"(k <= q) & (k > q - {size})",
    "band": _band,
    "prefix": lambda length: f"(k < {length})",
    "sinks": lambda size: f"(k < {size})",
    "padding": lambda length: f"(k < {length})",
    "chunked": lambda size: f"(q // {size} == k // {size})",
    "dilated": lambda hops, rate: f"((q - k).abs() <= {hops * rate}) & ((q - k) % {rate} == 0)",
}
