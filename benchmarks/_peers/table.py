"""Rows of the comparison: a call of another library, ours as code, and the cases on which both are evaluated.

What the guide shows is what runs: `Row.ours` is evaluated with the variables of each case.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import maskwork as mw

Array = npt.NDArray[Any]
#: Variables of one case; "theirs" is what the other library computes, "compared" marks the cells that are compared.
Case = dict[str, Any]

#: Names that `Row.ours` may use besides the variables of its case.
_NAMES = {name: getattr(mw, name) for name in mw.__all__ if not name.startswith("_")} | {"mw": mw, "torch": torch}
#: Numbers may differ by this: float32 against float64.
_TOLERANCE = 2e-5


class Counts(Counter[str]):
    """Cases by outcome: "equal", "different", "refused" and "not expressible"."""


@dataclass(frozen=True)
class Row:
    """One row of the guide.

    Attributes:
        name: `file.function`, which names the row's test.
        call: their call, as Markdown.
        ours: code that returns a bound mask, a mask and a bias, or a tensor; empty where ours cannot say it.
        cases: the function that yields the cases.
        why: why some cases differ, or why ours cannot say it; empty where all cases must be equal.
        note: a remark for the guide.
        shown: whether the guide shows the row.
    """

    name: str
    call: str
    ours: str
    cases: Callable[[], Iterator[Case]]
    why: str = ""
    note: str = ""
    shown: bool = True


@dataclass
class Peer:
    """A library and its rows.

    Attributes:
        title: its name.
        source: what stands for the library: itself, or formulas.
        rows: its rows, in the order of the guide.
    """

    title: str
    source: str
    rows: list[Row] = field(default_factory=list)

    def row(
        self, call: str, ours: str, *, why: str = "", note: str = "", shown: bool = True
    ) -> Callable[[Callable[[], Iterator[Case]]], Callable[[], Iterator[Case]]]:
        """Add a row whose cases the decorated generator yields."""

        def add(cases: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
            name = f"{cases.__module__.rpartition('.')[2]}.{cases.__name__}"
            self.rows.append(Row(name, call, ours, cases, why, note, shown))
            return cases

        return add


def compare(row: Row, limit: int | None = None) -> tuple[Counts, list[str]]:
    """Compare the cases of a row, at most `limit` of them, evenly spread; return counts and what was not equal."""
    cases = list(row.cases())
    if limit is not None:
        cases = cases[:: -(-len(cases) // limit)]
    code = compile(row.ours or "None", row.name, "eval")
    counts, details = Counts(), []
    for case in cases:
        theirs, compared = np.asarray(case.pop("theirs")), np.asarray(case.pop("compared", True))
        unknown = lacking(row, case)
        outcome, detail = ("not expressible", unknown) if unknown else _judge(code, case, theirs, compared)
        counts[outcome] += 1
        if outcome != "equal":
            details.append(f"{row.name}: {outcome}: {detail} with {_short(case)}")
    return counts, details


def lacking(row: Row, case: Case) -> str:
    """Return why ours cannot say this row: its own reason, or the names and arguments that maskwork lacks."""
    if not row.ours:
        return row.why
    nodes = list(ast.walk(ast.parse(row.ours)))
    loaded = {node.id for node in nodes if isinstance(node, ast.Name)}
    local = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    local |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    names = sorted(loaded - local - {*dir(builtins), *_NAMES, *case})
    # An atom may exist without this argument.
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in mw.masks.__all__:
            parameters = inspect.signature(getattr(mw, node.func.id)).parameters
            names += [f"{node.func.id}({word.arg}=)" for word in node.keywords if word.arg not in parameters]
    return f"maskwork has no {', '.join(names)}" if names else ""


def _judge(code: Any, case: Case, theirs: Array, compared: Array) -> tuple[str, str]:
    try:
        ours = read(eval(code, _NAMES | case))  # the code is a row's own
    except mw.errors.MaskworkError as error:
        return "refused", str(error)
    except Exception as error:  # a fault of ours is an answer that differs
        return "different", f"{type(error).__name__}: {error}"
    try:
        shape = np.broadcast_shapes(ours.shape, theirs.shape)
    except ValueError:
        return "different", f"shapes {ours.shape} and {theirs.shape}"
    ours, theirs = np.broadcast_to(ours, shape), np.broadcast_to(theirs, shape)
    if theirs.dtype == np.bool_:
        unlike = ours != theirs
    else:
        unlike = ~np.isclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE)
    unlike = unlike & compared
    if not unlike.any():
        return "equal", ""
    first = tuple(int(i) for i in np.argwhere(unlike)[0])
    return "different", f"{unlike.sum()} of {unlike.size}, the first at {first}: {ours[first]}, theirs {theirs[first]}"


def read(value: Any) -> Array:
    """Return the cells of a bound mask, or the numbers of a tensor, as an array."""
    if isinstance(value, mw.BoundMask):
        return value.dense()
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _short(case: Case) -> str:
    """Return the variables of a case as text, functions left out and tensors as their shape."""
    texts = (
        f"{name}={'x'.join(map(str, value.shape)) if isinstance(value, torch.Tensor) and value.ndim > 1 else value!r}"
        for name, value in case.items()
        if not callable(value)
    )
    return ", ".join(text if len(text) < 80 else f"{text[:76]} ..." for text in texts)


# Grids, positions and attention, which the files of the libraries share.

#: (queries, keys): fewer queries than keys, as many, and more.
GRIDS = [(q_len, kv_len) for q_len in (1, 2, 5, 8) for kv_len in (1, 2, 5, 8)]


def positions(q_len: int, kv_len: int) -> tuple[Array, Array]:
    """Return the indices of queries `(Q, 1)` and of keys `(1, K)`."""
    return np.arange(q_len)[:, None], np.arange(kv_len)[None]


def qkv(q_len: int, kv_len: int, batch: int = 2, heads: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return random queries, keys and values of four numbers each, the same ones for the same shape."""
    generator = torch.Generator().manual_seed(100 * q_len + kv_len)
    q, k, v = (torch.randn(batch, heads, n, 4, generator=generator) for n in (q_len, kv_len, kv_len))
    return 2 * q, k, v


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allowed: Array,
    bias: Array | float = 0.0,
    softcap: float | None = None,
    sinks: Array | None = None,
) -> Array:
    """Compute attention in float64 by its definition; a query that sees no key gives 0."""
    queries, keys, values = (x.double().numpy() for x in (q, k, v))
    scores = queries @ keys.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    weights = np.exp(scores + bias) * allowed
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks)[:, None, None]
    return weights @ values / np.where(total == 0, 1, total)
