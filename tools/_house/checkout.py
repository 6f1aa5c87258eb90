"""A checkout of the project: the files that belong to it, read and parsed once."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

#: The folder of the package, from the root of the project.
PACKAGE = PurePosixPath("src/maskwork")

#: The folders beside the package that hold Python files.
SURROUNDINGS = ("benchmarks", "docs", "examples", "tests", "tools")


@dataclass(frozen=True)
class Source:
    """A Python file: its path from the root of the project, its text and its syntax tree."""

    path: PurePosixPath
    text: str
    tree: ast.Module


class Checkout:
    """The files of a project that git tracks or would track: ignored and deleted ones are left out."""

    def __init__(self, root: Path):
        self.root = root

    @cached_property
    def files(self) -> tuple[PurePosixPath, ...]:
        """The paths of all files, from the root, sorted."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=self.root, capture_output=True, check=True).stdout.decode()
        paths = {PurePosixPath(name) for name in listing.split("\0") if name}
        return tuple(sorted(path for path in paths if (self.root / path).is_file()))

    def below(self, folder: PurePosixPath | str, suffix: str = "") -> list[PurePosixPath]:
        """Return the files below a folder whose names end in `suffix`."""
        return [path for path in self.files if PurePosixPath(folder) in path.parents and path.name.endswith(suffix)]

    def read(self, path: PurePosixPath) -> str:
        """Return the text of a file."""
        return (self.root / path).read_text(encoding="utf-8")

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The Python files of the package."""
        return tuple(self._parse(path) for path in self.below(PACKAGE, ".py"))

    def _parse(self, path: PurePosixPath) -> Source:
        text = self.read(path)
        return Source(path, text, ast.parse(text, str(path)))


class Surroundings(Checkout):
    """The same checkout, whose sources are the Python files beside the package."""

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The Python files of benchmarks, docs, examples, tests and tools."""
        return tuple(self._parse(path) for folder in SURROUNDINGS for path in self.below(folder, ".py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a syntax tree, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
