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

#: folder -> the order of its files and private folders, which import one way too; "_folder.file" is a file apart.
FLOORS = {
    "masks": (
        "_arrays", "_text", "_extent", "_grid", "_drawing", "_questions.explain", "_mask",
        "_joined", "_operators", "_questions", "_shift",
        "_bound", "_atoms", "recipes",
    ),
    "objectives": (
        "_arguments", "_batches", "_causal_lm", "_prefix_lm", "_masked_lm", "_denoising",
        "_fill_in_the_middle", "_sequence_classification", "_sequence_to_sequence", "_token_tagging", "_sentence_pair",
        "_chat", "_curriculum", "_stream", "_explain",
    ),
    "proof": ("_verdicts", "_probes", "_expect", "_checks", "_audit", "zoo", "mutants", "honest", "specimens"),
}  # fmt: skip

#: (importer, imported) in masks: the one circle. `Mask.bind` makes a bound mask and `Mask.shift` a shifted one, each
#: of which is made of a mask: `_mask` imports their files when the methods are called.
CIRCLE = {("_mask", "_joined"), ("_mask", "_bound"), ("_mask", "_shift")}

#: (importer, imported) in masks: files that only name `Mask` and `BoundMask` in annotations, of which nothing runs.
ANNOTATIONS = {
    ("_text", "_mask"), ("_grid", "_mask"), ("_questions.explain", "_mask"), ("_mask", "_bound"),
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


def imported_modules(path: Path, tree: ast.AST | None = None) -> set[tuple[str, ...]]:
    """Return the maskwork modules that a file, or a part of it, imports from, as parts below `maskwork`."""
    package = ("maskwork", *path.relative_to(SOURCE).parent.parts)
    modules: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")) if tree is None else tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = (*base, *(node.module.split(".") if node.module else ()))
            if names[:1] == ("maskwork",):
                # `from . import x` names x in its list, where x may be a module
                modules |= {(*names[1:], alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.startswith("maskwork.")}
    return modules


def imports_by_kind(path: Path) -> dict[str, set[tuple[str, ...]]]:
    """Return the same by when an import runs: with the "file", in a "function" when it is called, for "types" never."""
    kinds: dict[str, set[tuple[str, ...]]] = {"file": set(), "function": set(), "types": set()}

    def visit(node: ast.AST, kind: str) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kinds[kind] |= imported_modules(path, node)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            kind = "types"
        elif isinstance(node, ast.FunctionDef):
            kind = "function"
        for child in ast.iter_child_nodes(node):
            visit(child, kind)

    visit(ast.parse(path.read_text(encoding="utf-8")), "file")
    return kinds


def room(folder: str, parts: tuple[str, ...]) -> str:
    """Return the room of `folder` in which the module with these parts below `folder` lies."""
    apart = ".".join(parts[:2])
    return apart if apart in FLOORS[folder] else parts[0]


def room_of(path: Path, folder: str) -> str:
    return room(folder, path.relative_to(SOURCE / folder).with_suffix("").parts)


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
    files = [path for path in FILES if folder_of(path) == folder and path != SOURCE / folder / "__init__.py"]
    assert {room_of(path, folder) for path in files} == set(floors)
    upwards: set[tuple[str, str, str]] = set()
    for path in files:
        importer = room_of(path, folder)
        for kind, modules in imports_by_kind(path).items():
            rooms = {room(folder, module[1:]) for module in modules if module[0] == folder and len(module) > 1}
            above = [name for name in rooms & set(floors) if floors.index(name) > floors.index(importer)]
            upwards |= {(importer, name, kind) for name in above}
    allowed: set[tuple[str, str, str]] = set()
    if folder == "masks":
        allowed = {(*pair, "function") for pair in CIRCLE} | {(*pair, "types") for pair in ANNOTATIONS}
    assert upwards == allowed, "(importer, imported, kind) that goes against the order, and the exceptions"


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
