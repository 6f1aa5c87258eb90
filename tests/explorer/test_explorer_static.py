"""The page's files: small, whole, and of this server alone."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

STATIC = Path(str(files("maskwork.explorer"))) / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
MODULES = [path for path in FILES if path.suffix == ".js"]

#: A line that opens the body of a function, a method or a closure.
OPENS = re.compile(r"\bfunction\b.*\{$|=> \(?\{$|^\s*(?!if|for|while|switch|catch|\} else)(?:async )?\w+\(.*\) \{$")


def function_lengths(source: str) -> dict[str, int]:
    """Return the lines that each function takes, by its first line; what is closed stands under what opens it."""
    lines = source.splitlines()
    lengths = {}
    for first, line in enumerate(lines):
        if OPENS.search(line):
            indent = line[: len(line) - len(line.lstrip())]
            last = next(n for n in range(first + 1, len(lines)) if lines[n].startswith(f"{indent}}}"))
            lengths[line.strip()] = last - first + 1
    return lengths


def test_the_static_part_is_small():
    assert sum(path.stat().st_size for path in FILES) < 300_000


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_says_its_idea_is_checked_and_stays_short(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("// ")
    assert "// @ts-check" in lines[:3]
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_what_a_module_exports_is_documented(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    exports = [n for n, line in enumerate(lines) if line.startswith("export ") and line != "export const panel = {"]
    assert [lines[n] for n in exports if not lines[n - 1].rstrip().endswith("*/")] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_function_is_long(path: Path):
    lengths = function_lengths(path.read_text(encoding="utf-8"))
    assert {name: length for name, length in lengths.items() if length > 100} == {}


def test_the_length_of_a_function_is_that_of_all_its_lines():
    source = "function outer() {\n  const inner = () => {\n    one();\n  };\n  if (a) {\n    two();\n  }\n}\n"
    assert function_lengths(source) == {"function outer() {": 8, "const inner = () => {": 3}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_what_is_there(path: Path):
    for name in re.findall(r'from "([^"]+)"', path.read_text(encoding="utf-8")):
        if name == "/api/openapi.json":
            continue  # an answer of the server
        assert name.startswith("."), f"{name} is no file of the page"
        assert (path.parent / name).is_file(), name


def test_no_folder_holds_more_than_20_entries():
    for folder in (STATIC, *(path for path in STATIC.rglob("*") if path.is_dir())):
        assert len(list(folder.iterdir())) <= 20, folder


def test_nothing_comes_from_elsewhere_and_nothing_is_inline():
    for path in FILES:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert not re.search(r"https?://", text), path
        assert not re.search(r"\son\w+=|javascript:|<style|style=\"", text), path
        assert "innerHTML" not in text, path


def test_every_panel_has_its_module():
    listed = re.findall(
        r'^\s*\["(\w+)", "', (STATIC / "panels" / "panels.js").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(listed) == 9
    mounted = {path.stem for path in MODULES if "export const panel = {" in path.read_text(encoding="utf-8")}
    assert set(listed) == mounted
    assert all((STATIC / "panels" / f"{name}.js").is_file() for name in listed)
