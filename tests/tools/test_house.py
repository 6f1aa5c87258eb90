"""The measures of `tools/house.py`: each counts a planted offender and passes a clean checkout."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a module of tools/_house."""
    monkeypatch.syspath_prepend(TOOLS)
    return lambda name: importlib.import_module(f"_house.{name}")


@pytest.fixture
def plant(house: Callable[[str], ModuleType], tmp_path: Path) -> Callable[..., Any]:
    """Return a function that writes files (those of the package by keyword) and returns their checkout."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    def write(files: dict[str, str] | None = None, **package: str) -> Any:
        inside = {f"src/maskwork/{name.replace('__', '/')}.py": text for name, text in package.items()}
        for name, text in {**(files or {}), **inside}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return house("checkout").Checkout(tmp_path)

    return write


def package(files: dict[str, str]) -> dict[str, str]:
    return {f"src/maskwork/{name}": text for name, text in files.items()}


def test_a_folder_counts_files_and_subfolders_but_nothing_ignored(house, plant):
    files = {f"docs/{i}.md": "" for i in range(19)} | {
        "docs/more/a.md": "",
        "docs/more/b.md": "",
        ".gitignore": "*.tmp",
    }
    clean = house("folders").measure(plant(files | {"docs/x.tmp": ""}))
    assert (clean.measured, clean.ok, clean.details) == (20, True, ())
    full = house("folders").measure(plant(files | {"docs/20.md": ""}))
    assert (full.measured, full.ok, full.details) == (21, False, ("docs: 21 entries",))


def test_a_circle_is_seen_through_a_package_and_inside_functions(house, plant):
    files = package({
        "__init__.py": "from .masks import b\n",
        "masks/__init__.py": "from ._b import b\nfrom ._a import a\n",
        "masks/_a.py": "def a():\n    from . import b\n",
        "masks/_b.py": "from maskwork.masks._c import c\nb = c\n",
        "masks/_c.py": "import maskwork as mw\nc = lambda: mw.masks.a\nif True:\n    from . import a\n",
        "masks/_d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ._e import e\n",
        "masks/_e.py": "from ._d import d\n",
    })  # fmt: skip
    largest, typed, silent = house("circles").measure(plant(files))
    assert (largest.measured, silent.measured, silent.ok) == (3, 1, False)
    assert largest.details == ("circle of 3: " + " ".join(f"src/maskwork/masks/_{x}.py" for x in "abc"),)
    assert len(typed.details) == 2
    files["src/maskwork/masks/_c.py"] = '"""Imports in a circle with _a."""\n' + files["src/maskwork/masks/_c.py"]
    assert house("circles").measure(plant(files))[2].ok
    files["src/maskwork/masks/_a.py"] = "a = 1\n"
    assert house("circles").measure(plant(files))[0].measured == 1


def test_a_circle_that_is_too_large_misses_the_goal(house, plant):
    ring = {f"r{i}.py": f"from . import r{(i + 1) % 8}\n" for i in range(8)}
    largest = house("circles").measure(plant(package(ring)))[0]
    assert (largest.measured, largest.ok) == (8, False)


@pytest.mark.parametrize(
    "name", ["found", "_at", "of", "here", "there", "told", "asked", "own", "kept", "whole", "ended"]
)
def test_the_words_that_name_nothing_are_counted(house, name: str):
    assert house("names").is_function_word(name)


@pytest.mark.parametrize(
    "name", ["first", "other", "__all__", "end", "to", "found_rows", "last_seen", "_", "off_by_one"]
)
def test_nouns_and_idioms_are_not(house, name: str):
    assert not house("names").is_function_word(name)


def test_every_kind_of_binding_counts(house, plant):
    code = """
class Whole:
    def told(self, asked, *here, **there):
        self.kept = 1
        for at in (own := []):
            with open() as given, open() as known:
                found: int = [of for of in at]
        at_once = lambda named: named
"""
    figure = house("names").measure_function_words(plant(a=code))
    words = {line.rpartition(" ")[2] for line in figure.details}
    assert words == {
        "Whole", "told", "asked", "here", "there", "kept", "at", "own", "given", "known", "found", "of", "at_once",
        "named",
    }  # fmt: skip
    assert "src/maskwork/a.py:3: told" in figure.details
    assert not figure.ok
    assert house("names").measure_function_words(plant(a="rows = 1\n")).measured == 0


def test_names_beside_the_package_are_counted_and_not_judged(house, plant, tmp_path: Path):
    plant({"benchmarks/a.py": "found = 1\n", "tests/masks/test_a.py": "at = 1\n"}, a="rows = 1\n")
    done = run("--root", tmp_path, "--list", "names-elsewhere")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["benchmarks/a.py:1: found", "tests/masks/test_a.py:1: at"]


def test_a_class_name_means_one_thing(house, plant):
    assert house("names").measure_classes(plant(a="class Grid: ...\n", b="from .a import Grid\n")).ok
    figure = house("names").measure_classes(plant(a="class Grid: ...\n", b="\n\nclass _Grid: ...\n", c="Grid = int\n"))
    assert figure.measured == 1
    assert figure.details == tuple(f"src/maskwork/{x}: Grid" for x in ("a.py:1", "b.py:3", "c.py:1"))


def test_comments_count_but_pragmas_and_docstrings_do_not(house, plant):
    code = (
        '"""A file."""\n\n# why\n#: what\nx = 1  # because\ny = 2  # noqa: E501\nz = 3  # type: ignore\n#\nw = "# no"\n'
    )
    checkout = plant(a=code)
    assert house("prose").comments_and_code(checkout.sources[0]) == (3, 4)
    assert house("prose").measure_comments(checkout).ok
    assert not house("prose").measure_comments(plant(a="x = 1\n" * 21 + "# why\n")).ok


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ('def f():\n    """Return the rows."""', False),
        ('def f():\n    """Mask the keys."""', False),
        ('def f():\n    """Mask of the keys."""', True),
        ('def f():\n    """Returns the rows."""', True),
        ('def f():\n    """The rows."""', True),
        ('def f():\n    """Whether there are rows."""', True),
        ('def f():\n    """`q` and `k`."""', True),
        ('class A:\n    """Spans of a mask."""', False),
        ('class A:\n    """Count of the rows."""', False),
        ('class A:\n    """Count the rows."""', True),
        ('class A:\n    """What a mask is."""', True),
        ('class A:\n    """a mask."""', True),
        ('class A:\n    @property\n    def f(self):\n        """The rows."""', False),
        ('class A:\n    @property\n    def f(self):\n        """Whether there are rows."""', False),
        ('class A:\n    @cached_property\n    def f(self):\n        """Return the rows."""', True),
    ],
)  # fmt: skip
def test_the_voice_of_a_docstring(house, plant, code: str, fault: bool):
    assert house("prose").measure_docstrings(plant(a=code + "\n")).measured == fault


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("size is at least 1; got {x}; give one", False),
        ("no file found in {x}", False),
        ("size is at least 1; found {x}", True),
        ("size is at least 1, found none", True),
        ("mend what made it", True),
        ("the mask that was asked for", True),
    ],
)
def test_the_dialect_of_messages(house, plant, message: str, fault: bool):
    code = f'def f(x):\n    """Not, found here."""\n    raise ValueError(f"{message}")\n'
    figure = house("prose").measure_messages(plant(a=code))
    assert figure.measured == fault
    assert all(line.startswith("src/maskwork/a.py:3: ") for line in figure.details)


def test_the_folders_that_the_type_checker_sees(house, plant):
    files = package({"masks/a.py": "", "spans/a.py": ""})
    table = '[tool.basedpyright]\ntypeCheckingMode = "standard"\ninclude = ["{}"]\n'
    coverage = house("type_checker").coverage
    assert coverage(plant(files | {"pyproject.toml": table.format("src/maskwork")})).ok
    part = coverage(plant(files | {"pyproject.toml": table.format("src/maskwork/masks")}))
    assert (part.measured, part.ok) == ("1 of 2", False)
    assert not coverage(plant(files | {"pyproject.toml": table.format("src").replace("standard", "basic")})).ok
    assert not coverage(plant(files | {"pyproject.toml": table.format("src") + 'ignore = ["src/maskwork/spans"]'})).ok


def test_unmeasured_types_are_never_ok(house, plant):
    checkout = plant(package({"masks/a.py": ""}) | {"pyproject.toml": ""})
    figure = house("type_checker").measure(checkout, run=False)[0]
    assert (figure.measured, figure.ok) == ("not measured", False)


def test_tests_mirror_the_source(house, plant):
    source = package({"masks/_json.py": "", "masks/_atoms/tree.py": "", "explorer/static/panels/why.js": ""})
    good = ["masks/test_json", "masks/test_json_errors", "masks/test_tree", "masks/atoms/test_tree", "browser/test_why"]
    checkout = plant(source | {f"tests/{name}.py": "" for name in [*good, "test_layout"]})
    assert house("mirror").measure(checkout).ok
    bad = ["masks/test_traps", "masks/test_jsonish", "masks/atoms/test_json", "spans/test_json", "browser/test_phone"]
    figure = house("mirror").measure(plant({f"tests/{name}.py": "" for name in bad}))
    assert figure.details == tuple(f"tests/{name}.py:1: mirrors no source file" for name in sorted(bad))


def test_behaviours_lie_where_their_name_says(house, plant):
    module = house("behaviours")
    tree = (module.Behaviour("tree", ("tree",), ("tree",), "masks"),)
    assert module.measure(plant(masks___tree="def tree(): ...\n"), tree).ok
    astray = module.measure(plant(masks___ancestry="\ndef tree(): ...\n"), tree)
    assert (astray.measured, astray.details[0].partition(" ")[0]) == ("0 of 1", "src/maskwork/masks/_ancestry.py:2:")
    nowhere = (module.Behaviour("real", ("real",), ("real",)),)
    assert not module.measure(plant(), nowhere).ok


def test_executed_functions_are_those_that_ran(house, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "planted_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(
        "from . import b\nclass A:\n    x = 1\ndef f():\n    from . import c\n    return b.g()\n"
    )
    (folder / "b.py").write_text("def g():\n    return 1\ndef idle():\n    return 2\n")
    (folder / "c.py").write_text("class C:\n    x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    a = importlib.import_module("planted_package.a")
    assert house("traced").executed(a.f, folder) == {"a.py": ["f"], "b.py": ["g"]}


SCRIPT = r"""
const text = "function x() {", pattern = /[/{]`/g, half = a / b; // { {
const label = `a ${items.map((item) => {
  return `${item} }`;
}).join("{")} {`;
function outer(a = {}) {
  if (a) {
    b();
  }
}
class K {
  method() {
    return 1;
  }
}
const later = async () => ({
  a: 1,
});
"""


def test_functions_of_a_script_are_measured_past_strings_and_templates(house):
    functions = list(house("lengths").javascript_functions(SCRIPT))
    assert functions == [("=>", 3, 5), ("outer", 6, 10), ("method", 12, 14), ("later", 16, 18)]


def test_what_is_too_long_is_named(house, plant):
    files = package({
        "a.py": "def f():\n" + "    x = 1\n" * 100,
        "static/a.js": "function f() {\n" + "  x();\n" * 120 + "}\n",
        "b.py": "x = 1\n" * 501,
    })  # fmt: skip
    figures = house("lengths").measure(plant(files))
    assert [(figure.measured, figure.ok) for figure in figures] == [(101, False), (122, False), (501, False)]
    assert figures[0].details == ("src/maskwork/a.py:1: f: 101 lines",)
    assert figures[1].details == ("src/maskwork/static/a.js:1: f: 122 lines",)
    shorter = {name: text.replace("    x = 1\n", "", 1).replace("  x();\n", "", 2) for name, text in files.items()}
    shorter["src/maskwork/b.py"] = "x = 1\n"
    assert all(figure.ok for figure in house("lengths").measure(plant(shorter)))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOLS / "house.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_copy_that_git_does_not_know_is_refused(tmp_path: Path):
    (tmp_path / "src" / "maskwork").mkdir(parents=True)
    done = run("--root", tmp_path, "--list", "names")
    assert done.returncode == 2
    assert done.stderr.endswith(f"--root is a checkout whose files git can list, got {tmp_path}\n")


def test_the_exit_code_says_whether_goals_are_reached(plant, tmp_path: Path):
    plant(a="rows = 1\n")
    done = run("--root", tmp_path, "--list", "names", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["names"]["ok"]
    plant(a="found = 1\n")
    done = run("--root", tmp_path, "--list", "names")
    assert (done.returncode, done.stdout) == (1, "src/maskwork/a.py:1: found\n")
    assert run("--root", tmp_path, "--list", "nothing").returncode == 2
    assert run("--root", tmp_path / "a").returncode == 2
