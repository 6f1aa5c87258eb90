"""The layout of the package: imports go one way, files are small, no module shadows a public function."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import maskwork

SOURCE = Path(maskwork.__file__).parent

#: A folder imports only from folders before it (DESIGN section 2).
ORDER = (
    "errors", "_shared", "spans", "masks", "lower", "kernels", "cache", "nn", "data", "losses", "objectives", "models",
    "hf", "proof", "testing", "training", "decoding", "web", "explorer", "cli",
)  # fmt: skip

#: folder -> the order of its files and private folders, which import one way too.
FLOORS = {
    "objectives": (
        "_arguments", "_batches", "_causal_lm", "_prefix_lm", "_masked_lm", "_denoising",
        "_fill_in_the_middle", "_sequence_classification", "_sequence_to_sequence", "_token_tagging", "_sentence_pair",
        "_chat", "_curriculum", "_stream", "_explain",
    ),
    "proof": ("_verdicts", "_probes", "_expect", "_checks", "_audit", "zoo", "mutants", "honest", "specimens"),
}  # fmt: skip

#: (importer, imported): pairs that are refused although `ORDER` would allow them; some folders do not exist yet.
NEVER = (
    ("explorer", "serve"), ("serve", "explorer"), ("serve", "training"), ("models", "hf"), ("decoding", "engine"),
    ("cache", "models"), ("losses", "objectives"),
)  # fmt: skip

#: Most entries of a folder.
MOST_ENTRIES = 20

FILES = sorted(SOURCE.rglob("*.py"))


def folder_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[tuple[str, ...]]:
    """Return the maskwork modules that a file imports from, as parts below `maskwork`, in any form of import."""
    package = ("maskwork", *path.relative_to(SOURCE).parent.parts)
    modules: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = (*base, *(node.module.split(".") if node.module else ()))
            if names[:1] == ("maskwork",):
                # `from . import x` names x in its list, where x may be a module
                modules |= {(*names[1:], alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.startswith("maskwork.")}
    return modules


def rooms(path: Path, folder: str) -> tuple[str, set[str]]:
    """Return the room of `folder` that holds a file, and the rooms of `folder` that the file imports from."""
    parts = path.relative_to(SOURCE / folder).parts
    imported = {module[1] for module in imported_modules(path) if module[0] == folder and len(module) > 1}
    return parts[0].removesuffix(".py"), imported


def test_every_folder_has_its_place():
    folders = {folder_of(path) for path in FILES} - {"__init__", "__main__"}
    assert folders == set(ORDER)


@pytest.mark.parametrize("path", [p for p in FILES if folder_of(p) in ORDER], ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path):
    floor = ORDER.index(folder_of(path))
    imported = {module[0] for module in imported_modules(path)} & set(ORDER)
    above = [name for name in imported if ORDER.index(name) > floor]
    assert not above, f"{path.relative_to(SOURCE)} imports from {above}, which come later in the order"
    assert not [name for name in imported if (folder_of(path), name) in NEVER]


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_within_a_folder_go_one_way(folder: str):
    floors = FLOORS[folder]
    assert {rooms(path, folder)[0] for path in FILES if folder_of(path) == folder} - {"__init__"} == set(floors)
    for path in FILES:
        if folder_of(path) == folder and path != SOURCE / folder / "__init__.py":
            room, imported = rooms(path, folder)
            above = [name for name in imported & set(floors) if floors.index(name) > floors.index(room)]
            assert not above, f"{path.relative_to(SOURCE)} imports from {above}, which come later in the order"


def test_no_folder_is_crowded():
    # The folder of the package itself holds the floors of `ORDER`, which the design lists one by one.
    for folder in {path.parent for path in SOURCE.rglob("*") if "__pycache__" not in path.parts} - {SOURCE}:
        entries = [entry for entry in folder.iterdir() if entry.name != "__pycache__"]
        assert len(entries) <= MOST_ENTRIES, f"{folder.relative_to(SOURCE)} holds {len(entries)} entries"


def test_a_private_folder_carries_the_underscore_and_its_files_do_not():
    for path in FILES:
        if path.parent.name.startswith("_"):
            assert not path.name.removeprefix("__init__").startswith("_"), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_says_its_one_idea_and_stays_small(path: Path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "a file begins with a docstring"
    assert len(text.splitlines()) <= 500


@pytest.mark.parametrize(
    "face", [path for path in FILES if path.name == "__init__.py"], ids=lambda p: str(p.parent.relative_to(SOURCE))
)
def test_no_file_bears_the_name_of_an_exported_function_beside_it(face: Path):
    # An import of such a file would replace the function by the module.
    module = importlib.import_module(".".join(("maskwork", *face.parent.relative_to(SOURCE).parts)))
    names = getattr(module, "__all__", ())
    functions = {name for name in names if inspect.isroutine(getattr(module, name))}
    assert not functions & {path.stem for path in face.parent.iterdir()}


@pytest.mark.parametrize("folder", ["spans", "masks"])
def test_geometry_needs_numpy_only(folder: str):
    for path in (SOURCE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            assert not [name for name in names if name.split(".")[0] == "torch"], path


def test_masks_work_without_torch():
    code = (
        "import sys, maskwork; maskwork.parse('causal & sliding_window(8)').bind(64).allowed; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
