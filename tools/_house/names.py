"""Names: function words among the names bound, and class names with more than one meaning."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from .checkout import Checkout
from .figure import Figure
from .words import FUNCTION_WORDS, IDIOMS

MOST_PER_THOUSAND = 5


def measure_function_words(checkout: Checkout) -> Figure:
    """Measure how many of 1,000 names bound are function words; every binding counts, also of a name bound before."""
    total, offenders = 0, list[str]()
    for source in checkout.sources:
        for name, line in bindings(source.tree):
            total += 1
            if is_function_word(name):
                offenders.append(f"{source.path}:{line}: {name}")
    rate = round(1000 * len(offenders) / max(total, 1), 1)
    title = f"function words as names, of 1,000 names bound ({len(offenders)} of {total:,})"
    return Figure("names", title, rate, f"< {MOST_PER_THOUSAND}", rate < MOST_PER_THOUSAND, tuple(offenders))


def is_function_word(name: str) -> bool:
    """Return whether every part of a name is a function word: `found`, `_at`, `at_once`."""
    parts = [part for part in name.lower().split("_") if part]
    return bool(parts) and "_".join(parts) not in IDIOMS and all(part in FUNCTION_WORDS for part in parts)


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield name and line of every binding: assignments, parameters, loops, functions, classes, `self.name = `."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, node.lineno
            case _:
                pass


def measure_classes(checkout: Checkout) -> Figure:
    """Count the names of classes that have more than one meaning: that more than one file defines.

    Leading underscores are no part of a name. Another class, an alias of a type (`Grid = tuple[...]`), a public
    function and a public constant of the same name are other meanings.
    """
    types: set[str] = set()
    places: dict[str, dict[str, int]] = defaultdict(dict)
    for source in checkout.sources:
        for name, line, is_type in definitions(source.tree):
            places[name].setdefault(str(source.path), line)
            types |= {name} if is_type else set()
    double = {name: sorted(places[name].items()) for name in sorted(types) if len(places[name]) > 1}
    details = tuple(f"{path}:{line}: {name}" for name, lines in double.items() for path, line in lines)
    return Figure("classes", "names of classes with more than one meaning", len(double), "0", not double, details)


def definitions(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Yield name, line and whether it is a type: of every class, and of what a module's top defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_"), node.lineno, True
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, node.lineno, False
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    name = target.id.lstrip("_")
                    is_type = len(name) > 1 and name[0].isupper() and not name.isupper()
                    if is_type or not target.id.startswith("_"):
                        yield name, node.lineno, is_type
