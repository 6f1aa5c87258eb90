"""What the tests of the commands share: a folder with a text, a recipe and one trained run."""

from pathlib import Path

import pytest

from helpers.command_line import RECIPE, maskwork


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, a recipe and one trained run."""
    folder = tmp_path_factory.mktemp("work")
    text = folder / "text"
    text.mkdir()
    for i in range(20):
        (text / f"{i}.txt").write_text(
            "".join(f"line {j} of file {i}: the cat sat on mat {i * j}\n" for j in range(30))
        )
    (folder / "recipe.toml").write_text(RECIPE)
    done = maskwork("train", "--data", "text", "--config", "recipe.toml", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder
