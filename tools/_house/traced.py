"""Files that a behaviour runs through: those of the package in which a function was executed.

A behaviour runs in a process of its own. Every module is imported beforehand, so that what an import executes isn't
counted; nothing has run before, so that files that a cache would hide are counted.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .checkout import PACKAGE, Checkout
from .figure import Figure

#: behaviour -> most files that may take part
GOALS = {"attention": 18, "audit": 45, "loss": 20}

TITLES = {"attention": "attention with a window", "audit": "audit of a model", "loss": "documents to loss"}


def measure(checkout: Checkout, behaviour: str) -> Figure:
    """Count the files of the package in which a function was executed while the behaviour ran."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.root / "src"), "OMP_NUM_THREADS": "1"}
    code = f"from _house.traced import main; main({behaviour!r}, {str(checkout.root / PACKAGE)!r})"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True
    )
    title, goal = f"files that {TITLES[behaviour]} runs through", f"<= {GOALS[behaviour]}"
    if process.returncode:
        return Figure(f"files-{behaviour}", title, "not measured", goal, False, tuple(process.stderr.splitlines()[-3:]))
    functions: dict[str, list[str]] = json.loads(process.stdout)
    details = tuple(f"{PACKAGE}/{path}: {', '.join(names)}" for path, names in functions.items())
    return Figure(f"files-{behaviour}", title, len(functions), goal, len(functions) <= GOALS[behaviour], details)


def main(behaviour: str, package: str) -> None:
    """Run a behaviour and print the functions that were executed, by file."""
    import torch

    import maskwork

    assert Path(maskwork.__file__).parent == Path(package).resolve(), f"{maskwork.__file__} is another package"
    for module in pkgutil.walk_packages(maskwork.__path__, "maskwork."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    run = {"attention": _attention, "audit": _audit, "loss": _loss}[behaviour]()
    print(json.dumps(executed(run, Path(maskwork.__file__).parent)))


def executed(run: Callable[[], Any], package: Path) -> dict[str, list[str]]:
    """Return the functions below `package` that a call of `run` executes, by file; module and class bodies aside."""
    functions: dict[str, set[str]] = defaultdict(set)
    prefix = str(package) + os.sep

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED and code.co_filename.startswith(prefix):
            functions[code.co_filename.removeprefix(prefix)].add(code.co_qualname)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # pyright: ignore[reportArgumentType]
    return {path: sorted(names) for path, names in sorted(functions.items())}


def _attention() -> Callable[[], Any]:
    """Return the call of `mw.attention` with a causal window on 64 tokens, forward only."""
    import torch

    import maskwork as mw

    q, k, v = (torch.randn(1, 2, 64, 16) for _ in range(3))
    return lambda: mw.attention(q, k, v, mw.causal() & mw.sliding_window(8))


def _audit() -> Callable[[], Any]:
    """Return the call of `mw.audit` on a small Transformer, with its default checks."""
    import torch

    import maskwork as mw

    torch.manual_seed(0)
    config = mw.models.ModelConfig(vocab_size=32, layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=64)
    model, ids = mw.models.Transformer(config), torch.randint(0, 32, (16,))
    return lambda: mw.audit(model, ids, expect=mw.causal())


def _loss() -> Callable[[], Any]:
    """Return a function from documents to gradients: pack, objective, logits, cross-entropy, backward."""
    import torch

    import maskwork as mw

    def run() -> None:
        rows = list(mw.data.pack([[1, 2, 3, 4], [5, 6, 7], [8, 9]], 8))
        batch = mw.objectives.CausalLM()(rows)
        logits = torch.randn(*batch.input_ids.shape, 16, requires_grad=True)
        mw.masked_cross_entropy(logits, batch.targets, batch.weights).loss.backward()

    return run
