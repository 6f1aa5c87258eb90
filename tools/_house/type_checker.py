"""The type checker: its errors, and the folders of the package that it covers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

from .checkout import PACKAGE, Checkout
from .figure import Figure

#: The configuration of the folders that are checked strictly, beside pyproject.toml's of the whole package.
STRICT = PurePosixPath("tools/pyright-strict.json")
#: Levels of basedpyright that check at least as much as *standard*.
LEVELS = ("standard", "strict", "recommended", "all")


def measure(checkout: Checkout, *, run: bool = True) -> list[Figure]:
    """Count the errors of basedpyright, of the package and of its strict folders, and the folders left out."""
    return [
        _errors(checkout) if run else Figure("types", "errors of the type checker", "not measured", "0", False),
        coverage(checkout),
    ]


def _errors(checkout: Checkout) -> Figure:
    title = "errors of the type checker"
    places = [str(checkout.root / ".venv/bin"), str(Path(sys.executable).parent)]
    checker = shutil.which("basedpyright", path=":".join(places)) or shutil.which("basedpyright")
    if checker is None:
        return Figure("types", title, "not measured", "0", False, ("basedpyright isn't installed",))
    errors: list[dict[str, Any]] = []
    files = 0
    for options in ([], ["-p", str(STRICT)] if (checkout.root / STRICT).is_file() else None):
        if options is None:
            continue
        process = subprocess.run([checker, "--outputjson", *options], cwd=checkout.root, capture_output=True, text=True)
        try:
            report = json.loads(process.stdout)
            errors += [d for d in report["generalDiagnostics"] if d["severity"] == "error"]
            files = max(files, report["summary"]["filesAnalyzed"])
        except (ValueError, KeyError):
            return Figure("types", title, "not measured", "0", False, tuple(process.stderr.splitlines()[-3:]))
    details = tuple(_line(error, checkout) for error in errors)
    return Figure("types", f"{title} ({files} files)", len(errors), "0", not errors, details)


def _line(error: dict[str, Any], checkout: Checkout) -> str:
    path, line = Path(error["file"]), error.get("range", {}).get("start", {}).get("line", 0) + 1
    relative = path.relative_to(checkout.root) if path.is_relative_to(checkout.root) else path
    return f"{relative}:{line}: {error['message'].splitlines()[0]}"


def coverage(checkout: Checkout) -> Figure:
    """Count the folders of the package that basedpyright doesn't see, or sees at less than *standard*."""
    table = tomllib.loads(checkout.read(PurePosixPath("pyproject.toml"))).get("tool", {}).get("basedpyright", {})
    included = [PurePosixPath(path) for path in table.get("include", ["."])]
    left_out = [PurePosixPath(path) for key in ("exclude", "ignore") for path in table.get(key, [])]
    enough = table.get("typeCheckingMode", "recommended") in LEVELS
    folders = sorted({PurePosixPath(*path.parts[:3]) for path in checkout.below(PACKAGE, ".py") if len(path.parts) > 3})
    unseen = [
        folder for folder in folders
        if not enough or not _covers(included, folder) or any(folder == p or folder in p.parents for p in left_out)
        or _covers(left_out, folder)
    ]  # fmt: skip
    title, seen = "folders that the type checker sees", len(folders) - len(unseen)
    details = tuple(f"pyproject.toml:1: {folder} isn't checked at *standard*" for folder in unseen)
    return Figure("types-folders", title, f"{seen} of {len(folders)}", f"{len(folders)}", not unseen, details)


def _covers(paths: list[PurePosixPath], folder: PurePosixPath) -> bool:
    return any(path == PurePosixPath(".") or path == folder or path in folder.parents for path in paths)
