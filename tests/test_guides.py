"""The pictures and outputs in docs/ equal what the code makes today, and the guide shows every picture."""

import importlib.util
import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest

import maskwork as mw
from maskwork.masks._drawing.terminal import draw_text
from maskwork.masks._text.registry import MAKERS

DOCS = Path(__file__).parent.parent / "docs"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_pictures, make_screenshots = load("make_pictures"), load("make_screenshots")


@pytest.mark.parametrize("name", make_pictures.PICTURES)
def test_a_picture_is_up_to_date(name: str):
    path = make_pictures.FOLDER / f"{name}.svg"
    assert path.read_text(encoding="utf-8") == make_pictures.draw(name), "run: python docs/make_pictures.py"
    assert path.stat().st_size < 16_000


def test_there_is_no_other_picture():
    screenshots = {f"explorer/{name}.png" for name in make_screenshots.PICTURES}
    drawings = {f"{name}.svg" for name in make_pictures.PICTURES}
    folder = make_pictures.FOLDER
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == drawings | screenshots


def test_screenshots_are_small_and_the_guide_shows_them():
    guide = (DOCS / "guides" / "explorer.md").read_text(encoding="utf-8")
    for name in make_screenshots.PICTURES:
        assert (make_screenshots.FOLDER / f"{name}.png").stat().st_size < 150_000
        assert f"(../pictures/explorer/{name}.png)" in guide


def test_the_guide_shows_every_picture_and_every_atom():
    guide = (DOCS / "guides" / "masks.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\(\.\./pictures/([\w/]+)\.svg\)", guide)) == sorted(make_pictures.PICTURES)
    missing = [name for name in MAKERS if not re.search(rf"`{name}\(", guide)]
    missing += [f"recipes.{name}" for name in mw.recipes.__all__ if not re.search(rf"`recipes\.{name}\(", guide)]
    assert not missing, f"docs/guides/masks.md shows every atom and recipe, got none of {missing}"
    assert set(MAKERS) <= set(dir(mw))


def test_the_drawing_in_the_readme_is_what_is_drawn():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    bound = mw.parse("causal & (sliding_window(4) | sinks(1))").bind(12)
    assert draw_text(repr(bound.mask), bound.spans, bound.grid, 80) + "\n```" in readme


def test_what_the_guide_to_loss_masks_prints_is_what_is_printed():
    # A block of text in the guide is the whole output of the Python blocks between it and the block of text before.
    guide = (DOCS / "guides" / "loss-masks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    printed = ""
    for kind, text in blocks:
        if kind == "text":
            assert text.rstrip("\n") == printed.rstrip("\n")
            printed = ""
        else:
            assert not printed, f"the guide shows everything that is printed, got {printed} without a block of text"
            with redirect_stdout(out := io.StringIO()):
                exec(text, names)
            printed = out.getvalue()
    assert not printed
