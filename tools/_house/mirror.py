"""Tests that mirror the source: a file of tests bears the name of the file that it tests."""

from __future__ import annotations

from pathlib import PurePosixPath

from .checkout import PACKAGE, Checkout
from .figure import Figure

#: Folder of tests -> the mirrored folder, where that is no folder of the package. tests/*.py test the whole house.
MIRRORED = {
    "benchmarks": ("benchmarks", ".py"),
    "browser": (f"{PACKAGE}/explorer/static", ".js"),
    "examples": ("examples", ".py"),
    "tools": ("tools", ".py"),
}


def measure(checkout: Checkout) -> Figure:
    """Count the test files whose name is no source file's.

    `tests/masks/test_json.py` mirrors a `json.py` or `_json.py` anywhere below `masks`. A test in `tests/masks/atoms`
    mirrors a file below `masks/atoms` or `masks/_atoms`. A package is named by its folder. After the source's name a
    suffix is allowed: `test_json_errors.py`.
    """
    tests = [path for path in checkout.below("tests", ".py") if path.name.startswith("test_")]
    strangers = [path for path in tests if not mirrors(checkout, path)]
    details = tuple(f"{path}:1: mirrors no source file" for path in strangers)
    title = f"test files that mirror no source file (of {len(tests)})"
    return Figure("tests", title, len(strangers), "0", not strangers, details)


def mirrors(checkout: Checkout, test: PurePosixPath) -> bool:
    """Return whether the test's name is that of a source file in the mirrored folder, with or without a suffix."""
    folder = test.parent.relative_to("tests")
    if not folder.parts:
        return True
    root, suffix = MIRRORED.get(folder.parts[0], (f"{PACKAGE}/{folder.parts[0]}", ".py"))
    name = test.stem.removeprefix("test_")
    for path in checkout.below(root, suffix):
        below = [_bare(part) for part in path.relative_to(root).parent.parts]
        if below[: len(folder.parts) - 1] == [_bare(part) for part in folder.parts[1:]]:
            source = _bare(path.parent.name if path.stem == "__init__" else path.stem)
            if name == source or name.startswith(f"{source}_"):
                return True
    return False


def _bare(part: str) -> str:
    return part.strip("_").replace("-", "_")
