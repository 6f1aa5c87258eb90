"""Circles of imports: files of which each reaches every other through imports.

An arrow goes from a file to the file that defines the imported name: where an `__init__.py` passes a name on, the arrow
goes to the definition. Imports inside functions count; imports under `if TYPE_CHECKING` do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from .checkout import PACKAGE, Checkout, Source
from .figure import Figure

MOST_FILES = 7

Arrows = dict[str, set[str]]


class Import(NamedTuple):
    """One imported name: `name` of `module` (empty: the module itself), bound as `bound`."""

    module: str
    name: str
    bound: str
    typing: bool


def measure(checkout: Checkout) -> list[Figure]:
    """Measure the largest circle, with and without the imports for types, and count the unannounced circles."""
    modules = Modules(checkout.sources)
    circles = circles_of(modules.arrows(typing=False))
    largest = max(map(len, circles), default=1)
    details = tuple(f"circle of {len(circle)}: {' '.join(modules.path(m) for m in circle)}" for circle in circles)
    silent = [circle for circle in circles if not any("circle" in modules.first_line(m) for m in circle)]
    typed = max(map(len, circles_of(modules.arrows(typing=True))), default=1)
    return [
        Figure(
            "circles", "largest circle of imports, files", largest, f"<= {MOST_FILES}", largest <= MOST_FILES,
            details,
        ),
        Figure(
            "circles-typing", "the same with imports under TYPE_CHECKING", typed, "none set", True,
            tuple(" ".join(map(modules.path, circle)) for circle in circles_of(modules.arrows(typing=True))),
        ),
        Figure(
            "circles-silent", 'circles of which no file says "circle" in its first line', len(silent), "0", not silent,
            tuple(f"{modules.path(circle[0])}:1: {len(circle)} files import in a circle" for circle in silent),
        ),
    ]  # fmt: skip


class Modules:
    """The modules of the package by their dotted names, and the arrows between them."""

    def __init__(self, sources: tuple[Source, ...]):
        self.sources: dict[str, Source] = {}
        for source in sources:
            parts = source.path.relative_to(PACKAGE.parent).with_suffix("").parts
            self.sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = source

    def path(self, module: str) -> str:
        """Return the path of a module's file."""
        return str(self.sources[module].path)

    def first_line(self, module: str) -> str:
        """Return the first line of a module's docstring, in lower case."""
        return (ast.get_docstring(self.sources[module].tree) or "").partition("\n")[0].lower()

    def is_package(self, module: str) -> bool:
        """Return whether a module is the `__init__.py` of a folder."""
        return self.sources[module].path.name == "__init__.py"

    @cached_property
    def imports(self) -> dict[str, list[Import]]:
        """The imports of every module, those inside functions and for types included."""
        return {module: list(self._imports(module)) for module in self.sources}

    def _imports(self, module: str) -> Iterator[Import]:
        package = module.split(".") if self.is_package(module) else module.split(".")[:-1]
        for node, typing in _with_typing(self.sources[module].tree, False):
            if isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    yield Import(source, alias.name, alias.asname or alias.name, typing)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    yield Import(top, "", alias.asname or top, typing)
                    yield Import(alias.name, "", "", typing)

    def arrows(self, *, typing: bool) -> Arrows:
        """Return module -> modules that it imports from; with `typing`, also under `if TYPE_CHECKING`."""
        arrows: Arrows = {module: set() for module in self.sources}
        for module, imports in self.imports.items():
            tree = self.sources[module].tree
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            for imported in imports:
                passed_on = self.is_package(module) and imported.bound not in used
                if not passed_on and (typing or not imported.typing):
                    arrows[module] |= self._targets(imported, tree) - {module}
        return arrows

    def _targets(self, imported: Import, tree: ast.Module) -> set[str]:
        """Return the modules that define an imported name; for a package, those of its attributes that are used."""
        target = self.definer(imported.module, imported.name)
        if target is None:
            return set()
        if not self.is_package(target) or target != _join(imported.module, imported.name):
            return {target}
        attributes = {
            node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == imported.bound
        }  # fmt: skip
        return {definer for name in attributes if (definer := self.definer(target, name))}

    def definer(self, module: str, name: str) -> str | None:
        """Return the module that defines `name` of `module`, looking through packages that pass the name on."""
        visited: set[tuple[str, str]] = set()
        while (module, name) not in visited:
            visited.add((module, name))
            if name and (submodule := f"{module}.{name}") in self.sources:
                return submodule
            if module not in self.sources:
                return None
            if not name:
                return module
            origin = next((i for i in self.imports[module] if i.bound == name), None)
            if not self.is_package(module) or origin is None:
                return module
            module, name = origin.module, origin.name
        return None


def _join(module: str, name: str) -> str:
    return f"{module}.{name}" if name else module


def _with_typing(node: ast.AST, typing: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node below `node`, and whether it lies under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        yield child, typing
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for part in child.body:
                yield part, True
                yield from _with_typing(part, True)
            for part in child.orelse:
                yield part, typing
                yield from _with_typing(part, typing)
        else:
            yield from _with_typing(child, typing)


def circles_of(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one file, the largest first."""
    reached = {module: _reach(module, arrows) for module in arrows}
    components = {
        frozenset({module} | {other for other in reached[module] if module in reached[other]}) for module in arrows
    }
    return sorted((sorted(c) for c in components if len(c) > 1), key=lambda c: (-len(c), c))


def _reach(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that can be reached from `start`."""
    reached: set[str] = set()
    stack = list(arrows[start])
    while stack:
        module = stack.pop()
        if module not in reached:
            reached.add(module)
            stack.extend(arrows[module])
    return reached
