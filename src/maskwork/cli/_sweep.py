"""`maskwork audit --all-transformers`: one row for every causal language model that transformers can build tiny."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import typer

from ..errors import ArgumentError
from ..proof import USUAL_CHECKS as CHECKS

_TOKENS = 31  # no usual width: an axis as long as the sequence is then the sequence


def architectures(only: str = "") -> list[str]:
    """Names of every `…ForCausalLM`, and `…LMHeadModel`, of the installed transformers, in order."""
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    except ImportError:
        raise ArgumentError(
            "--all-transformers needs transformers, which is not installed; pip install maskwork[hf]"
        ) from None
    names = {
        name
        for value in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        for name in ([value] if isinstance(value, str) else value)
    }
    return sorted(name for name in names if only.lower() in name.lower())


def sweep(out: Path, *, only: str, timeout: float, memory: float, page: Path | None) -> int:
    """Audit each in a process of its own; what `out` already holds is not done again. Returns the exit code."""
    import torch
    import transformers

    names = architectures(only)
    if not names:
        raise ArgumentError(f"no architecture's name holds {only!r}; leave --only out to see them all")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # before the fork: a child cannot use threads that its parent began
    start = time.monotonic()
    for i, name in enumerate(names):
        path = out / f"{name}.json"
        row = read_row(path)
        if row is None or row.get("transformers") != transformers.__version__:
            row = _in_a_process(name, path, timeout, memory)
            row["transformers"] = transformers.__version__
            path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        typer.echo(f"{i + 1:3}/{len(names)} {name:40} {line(row)}")
    rows = {name: row for name in names if (row := read_row(out / f"{name}.json")) is not None}
    (out / "all.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if page is not None:
        from ._sweep_page import write_page

        write_page(page, rows, transformers.__version__)
    leaks = sum("leak" in row["checks"].values() for row in rows.values())
    typer.echo(f"{len(rows)} architectures, {leaks} with a leak, in {time.monotonic() - start:.0f} s")
    return 1 if leaks else 0


def read_row(path: Path) -> dict[str, Any] | None:
    """A finished row; None when there is none, or half of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def line(row: dict[str, Any]) -> str:
    """A row as one line of a table."""
    states = [f"{check}: {state.split(':')[0]}" for check, state in row["checks"].items()]
    return ", ".join(states) or f"cannot run: {row['why'][:90]}"


def _in_a_process(name: str, path: Path, timeout: float, memory: float) -> dict[str, Any]:
    """The row of one architecture, whatever happens to the process that makes it."""
    # Forked, because importing transformers takes longer than most audits; Windows and macOS start afresh.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
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
    os.dup2(quiet, 2)  # a stranger's warnings are not part of the table
    start = time.monotonic()
    row = audit_one(name)
    row["seconds"] = round(time.monotonic() - start, 2)
    Path(path).write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def audit_one(name: str) -> dict[str, Any]:
    """The row of one architecture: the state of each check and the findings, or why it cannot run."""
    import transformers

    from ..masks import causal
    from ..proof import audit
    from ._targets import Target, build, tokens_for

    try:
        kind = getattr(transformers, name)
        config = kind.config_class()
        for part in (config, config.get_text_config()):
            if hasattr(part, "is_decoder"):
                part.is_decoder = True
        model = build(kind, config, shrink=True, seed=0)
    except Exception as error:  # whatever a stranger's constructor raises
        return {"checks": {}, "why": f"cannot be built tiny: {type(error).__name__}: {_first_line(error)}"}
    size = sum(p.numel() for p in model.parameters())
    text = model.config.get_text_config()
    try:
        ids = tokens_for(Target(model, None, getattr(text, "vocab_size", 32), None), _TOKENS, 0)
        report = audit(model, ids, causal(), checks=CHECKS)
    except Exception as error:
        return {"checks": {}, "parameters": size, "why": f"{type(error).__name__}: {_first_line(error)}"}
    return {"parameters": size, "ok": report.ok, **{k: v for k, v in json.loads(report.to_json()).items() if k != "ok"}}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
