"""Audit every causal language model of transformers that can be built tiny.

    python benchmarks/audit_transformers.py --out sweep --page docs/transformers.md

Each architecture is built with random weights and audited in a process of its own, which may crash, hang or grow. One
JSON file per architecture is written to `--out`; an interrupted sweep continues from these files. Exit code 0: no leak,
1: a leak, 2: cannot run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

from _transformers_page import write_page

from maskwork._shared.text import first_line
from maskwork.proof import USUAL_CHECKS as CHECKS

_TOKENS = 31  # no usual width: an axis of this length is the sequence


def architectures(only: str = "") -> list[str]:
    """Return the names of every `…ForCausalLM` and `…LMHeadModel` of the installed transformers, in order."""
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    except ImportError:
        _refuse("this benchmark needs transformers, got none installed; pip install maskwork[hf]")
    names = {
        name
        for value in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        for name in ([value] if isinstance(value, str) else value)
    }
    return sorted(name for name in names if only.lower() in name.lower())


def sweep(out: Path, *, only: str, timeout: float, memory: float, page: Path | None) -> int:
    """Audit each architecture that `out` does not hold in a process of its own; return the exit code."""
    import torch
    import transformers

    names = architectures(only)
    if not names:
        _refuse(
            f"--only must be part of an architecture's name, got {only!r}; leave --only out to audit every architecture"
        )
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # before the fork: a child cannot use the threads of its parent
    start = time.monotonic()
    for i, name in enumerate(names):
        path = out / f"{name}.json"
        row = read_row(path)
        if row is None or row.get("transformers") != transformers.__version__:
            row = _audit_in_a_process(name, path, timeout, memory)
            row["transformers"] = transformers.__version__
            path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        print(f"{i + 1:3}/{len(names)} {name:40} {line(row)}", flush=True)
    rows = {name: row for name in names if (row := read_row(out / f"{name}.json")) is not None}
    (out / "all.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if page is not None:
        write_page(page, rows, transformers.__version__)
    leaks = sum("leak" in row["checks"].values() for row in rows.values())
    print(f"{len(rows)} architectures, {leaks} with a leak, in {time.monotonic() - start:.0f} s")
    return 1 if leaks else 0


def read_row(path: Path) -> dict[str, Any] | None:
    """Return the row of a file; None if the file is missing or incomplete."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def line(row: dict[str, Any]) -> str:
    """Return a row as one line of a table."""
    states = [f"{check}: {state.split(':')[0]}" for check, state in row["checks"].items()]
    return ", ".join(states) or f"cannot run: {row['why'][:90]}"


def _audit_in_a_process(name: str, path: Path, timeout: float, memory: float) -> dict[str, Any]:
    """Return the row of one architecture, whatever happens to the process that makes it."""
    # Forking avoids the import of transformers, which takes longer than most audits. Windows and macOS cannot fork.
    if sys.platform == "linux":
        context = multiprocessing.get_context("fork")
    else:
        context = multiprocessing.get_context("spawn")
    process: BaseProcess = context.Process(target=_child, args=(name, str(path), memory))
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
        return {"checks": {}, "why": f"more than {timeout:.0f} s"}
    row = read_row(path)
    if process.exitcode or row is None:
        return {"checks": {}, "why": f"its process ended with {process.exitcode}"}
    return row


def _child(name: str, path: str, memory: float) -> None:
    limit = int(memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)  # warnings of other libraries are no part of the table
    start = time.monotonic()
    row = audit_one(name)
    row["seconds"] = round(time.monotonic() - start, 2)
    Path(path).write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def audit_one(name: str) -> dict[str, Any]:
    """Return the row of one architecture: the state of each check and the findings, or why it cannot run."""
    import transformers

    from maskwork.cli._targets import tokens_for
    from maskwork.hf import build_random, describe_model
    from maskwork.masks import causal
    from maskwork.proof import audit

    try:
        kind = getattr(transformers, name)
        config = kind.config_class()
        for part in (config, config.get_text_config()):
            if hasattr(part, "is_decoder"):
                part.is_decoder = True
        model = build_random(kind, config, shrink=True, seed=0)
    except Exception as error:  # a constructor of transformers may raise anything
        return {"checks": {}, "why": f"cannot be built tiny: {type(error).__name__}: {first_line(error)[:200]}"}
    size = sum(p.numel() for p in model.parameters())
    try:
        # Windows are far longer than the sequence, so that each layer should keep causal().
        report = audit(model, tokens_for(describe_model(model), _TOKENS, 0), causal(), checks=CHECKS)
    except Exception as error:
        return {"checks": {}, "parameters": size, "why": f"{type(error).__name__}: {first_line(error)[:200]}"}
    return {"parameters": size, "ok": report.ok, **{k: v for k, v in json.loads(report.to_json()).items() if k != "ok"}}


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, print a line per architecture, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("audit-transformers"), help="folder of the results")
    parser.add_argument("--only", default="", help="part of the names of the architectures to audit")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for each model")
    parser.add_argument("--memory", type=float, default=8.0, help="GiB for each model")
    parser.add_argument("--page", type=Path, help="write the results as a Markdown page too")
    return sweep(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
