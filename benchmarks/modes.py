"""Run attention and losses under each of torch's modes and transforms, and say: right, refused by name, or wrong.

    python benchmarks/modes.py [--page FILE] [--json FILE]

Each cell compares output or derivative with the dense reference in eager mode, then runs the same mask in eager mode
again: a lowering that was made under the mode must not have been stored. Exit code 1: a cell is wrong. It takes about a
minute.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from _common import finish, parser_of
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import maskwork as mw
from maskwork.errors import MaskworkError

IMPLEMENTATIONS = ("auto", "reference", "sdpa", "tiled")
FORMS = ("unbound", "bound", "precomputed")
LENGTH, WIDTH, HEADS = 600, 8, 2  # from which auto takes tiles
MASK = mw.causal() & mw.sliding_window(7)

#: From q, k and v, all of them x, the output.
Attend = Callable[[torch.Tensor], torch.Tensor]


def attend_of(impl: str, form: str, length: int = LENGTH) -> Attend:
    """Return self-attention of x `(1, H, length, D)` under `MASK`, given in one of `FORMS`."""
    if form == "precomputed":
        stored = mw.nn.PrecomputedMask(MASK, length)
        return lambda x: mw.attention(x, x, x, stored(length, length, heads=x.shape[1]), impl=impl)
    mask = MASK if form == "unbound" else MASK.bind(length)
    return lambda x: mw.attention(x, x, x, mask, impl=impl)


def wanted(x: torch.Tensor) -> torch.Tensor:
    """Return the output by formulas alone."""
    q = torch.arange(x.shape[-2])
    distance = q[:, None] - q
    scores = (x @ x.mT) * x.shape[-1] ** -0.5
    return scores.masked_fill((distance < 0) | (distance >= 7), float("-inf")).softmax(-1) @ x


def _square(attend: Attend) -> Attend:
    return lambda x: attend(x).square().sum()


def _gradient(attend: Attend, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(_square(attend)(x), x)[0]


class _Layer(torch.nn.Module):
    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attend(x)


@contextmanager
def _default(setter: Callable[[object], None], value: object, before: object) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(before)


def _with(context: Callable[[], object]) -> Callable[[Attend, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    def run(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with context():  # pyright: ignore
            return attend(x), wanted(x)

    return run


def _in_default(setter: Callable[[object], None], value: object, before: object):
    def run(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with _default(setter, value, before):
            out = attend(x)
        return out, wanted(x)

    return run


def _fake(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mode = FakeTensorMode()
    y = mode.from_tensor(x)
    with mode:
        out = attend(y)
    assert type(out).__name__ == "FakeTensor"
    assert out.shape == x.shape
    return x, x


def _autocast(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(x)
    assert out.dtype is torch.bfloat16
    return (out.float() - wanted(x)) / 20, torch.zeros_like(x)  # within bfloat16's rounding


def _dual(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    tangent = torch.ones_like(x).cumsum(-1)
    with forward_ad.dual_level():
        got = forward_ad.unpack_dual(attend(forward_ad.make_dual(x, tangent))).tangent
    assert got is not None
    return got, torch.func.jvp(wanted, (x,), (tangent,))[1]


def _jvp(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    tangent = torch.ones_like(x).cumsum(-1)
    return tuple(torch.func.jvp(f, (x,), (tangent,))[1] for f in (attend, wanted))  # pyright: ignore


def _export(strict: bool):
    def run(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if strict:
            attend(x)  # dynamo reads stored lowerings alone
        return torch.export.export(_Layer(attend), (x,), strict=strict).module()(x), wanted(x)

    return run


def _compile(fullgraph: bool):
    def run(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        torch._dynamo.reset()
        if fullgraph:
            attend(x)
        compiled = torch.compile(lambda y: attend(y * 2) + 1, backend="aot_eager", fullgraph=fullgraph)
        return compiled(x), wanted(x * 2) + 1

    return run


def _small(transform: Callable[[Attend], Attend]):
    def run(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return transform(_square(attend))(x), transform(_square(wanted))(x)

    return run


def _vmap(of: Callable[[Attend], Attend]):
    def run(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        xs = torch.stack([x, x * 2])
        return torch.func.vmap(of(attend))(xs), torch.stack([of(wanted)(x), of(wanted)(x * 2)])

    return run


def _checkpoint(attend: Attend, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _gradient(lambda y: checkpoint(attend, y, use_reentrant=False), x), _gradient(wanted, x)


def _meta_gradient(attend: Attend, x: torch.Tensor) -> torch.Tensor:
    with _default(torch.set_default_device, "meta", None):
        return _gradient(attend, x)


#: Modes whose two results are the same where attention is right.
MODES: dict[str, Callable[[Attend, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "eager": _with(torch.enable_grad),
    "eager, gradient": lambda attend, x: (_gradient(attend, x), _gradient(wanted, x)),
    "inference": _with(torch.inference_mode),
    "fake tensors": _fake,
    "func.grad": lambda attend, x: (torch.func.grad(_square(attend))(x), _gradient(wanted, x)),
    "vmap": _vmap(lambda f: f),
    "vmap(grad)": _vmap(lambda f: torch.func.grad(_square(f))),
    "jvp": _jvp,
    "forward_ad": _dual,
    "autocast": _autocast,
    "checkpoint": _checkpoint,
    "default device cpu": _in_default(torch.set_default_device, "cpu", None),
    "default device meta, gradient": lambda attend, x: (_meta_gradient(attend, x), _gradient(wanted, x)),
    "default device meta": _in_default(torch.set_default_device, "meta", None),
    "default dtype float64": _in_default(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype bfloat16": _in_default(torch.set_default_dtype, torch.bfloat16, torch.float32),
}
#: Modes that compile or trace, a second or so each.
TRACED = {
    "export": _export(strict=False),
    "export strict": _export(strict=True),
    "compile": _compile(fullgraph=False),
    "compile fullgraph": _compile(fullgraph=True),
}
#: Derivatives as large as the square of their input: on `SHORT` positions.
SHORT = 6
SMALL = {
    "jacfwd": _small(torch.func.jacfwd),
    "jacrev": _small(torch.func.jacrev),
    "hessian": _small(torch.func.hessian),
    "jacfwd(grad)": _small(lambda f: torch.func.jacfwd(torch.func.grad(f))),
}
ALL = MODES | TRACED | SMALL


def outcome(mode: str, impl: str, form: str) -> str:
    """Return "right", "refused: …" in the words of the error, or "wrong: …" for one cell of the matrix."""
    length = SHORT if mode in SMALL else LENGTH
    x = torch.randn(1, HEADS, length, WIDTH, generator=torch.Generator().manual_seed(0))
    attend = attend_of(impl, form, length)
    try:
        got, right = ALL[mode](attend, x)
        result = "right" if torch.allclose(got, right, atol=2e-3, rtol=1e-3) else "wrong: another result"
    except MaskworkError as error:
        result = f"refused: {error}"
    except torch._dynamo.exc.Unsupported as error:
        # An unbound mask is bound outside of graphs, and a full graph has no outside.
        known = form == "unbound" and "torch.compiler.disable" in str(error)
        result = "refused: torch names the function outside the graph" if known else f"wrong: {str(error)[:100]}"
    except Exception as error:
        result = f"wrong: {type(error).__name__}: {str(error).splitlines()[0]:.100}"
    return result if torch.allclose(attend(x), wanted(x), atol=1e-3) else "wrong: in eager mode afterwards"


def first_tiled_call() -> tuple[float, bool]:
    """Return the CPU seconds of a process's first tiled call, and whether that call imported the compiler."""
    code = (
        "import sys, time, torch, maskwork as mw; q = torch.randn(1, 2, 512, 32); mw.attention(q, q, q, impl='sdpa');"
        "t = time.process_time(); mw.attention(q, q, q, mw.causal(), impl='tiled');"
        "print(time.process_time() - t, 'torch._dynamo' in sys.modules)"
    )
    seconds, loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(seconds), loaded == "True"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--page", type=Path, help="write the table to this file as well")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cells = {
        mode: {f"{impl}, {form}": outcome(mode, impl, form) for form in FORMS for impl in IMPLEMENTATIONS}
        for mode in ALL
    }
    lines = [f"| mode | {' | '.join(IMPLEMENTATIONS)} |", "| --- " * (len(IMPLEMENTATIONS) + 1) + "|"]
    for mode, row in cells.items():
        shown = []
        for impl in IMPLEMENTATIONS:
            words = [row[f"{impl}, {form}"].split(":")[0] for form in FORMS]
            shown.append(words[0] if len(set(words)) == 1 else ", ".join(map(" ".join, zip(FORMS, words, strict=True))))
        lines.append(f"| {mode} | {' | '.join(shown)} |")
    seconds, loaded = first_tiled_call()
    lines += ["", f"First tiled call of a process: {seconds:.3f} s of CPU; it imports torch's compiler: {loaded}."]
    print("\n".join(lines))
    refusals = sorted({text for row in cells.values() for text in row.values() if text.startswith("refused")})
    print("\nRefusals:\n\n" + "\n".join(f"- {text}" for text in refusals))
    if options.page is not None:
        head = "# Attention under torch's modes and transforms\n\nPrinted by `benchmarks/modes.py`.\n\n"
        options.page.write_text(head + "\n".join([*lines, "", "Refusals:", "", *(f"- {r}" for r in refusals)]) + "\n")
    wrong = [f"{mode}, {cell}: {text}" for mode, row in cells.items() for cell, text in row.items() if "wrong" in text]
    finish({"cells": cells, "first tiled call": seconds}, wrong + ["dynamo imported"] * loaded, options.json)


if __name__ == "__main__":
    main()
