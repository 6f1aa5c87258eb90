"""`maskwork explain`: the rows that training sees, and what bad input gets."""

import json
from pathlib import Path

import pytest

from helpers.command_line import Done, maskwork
from maskwork.training import Experiment, Recipe, RunFolder, rows_of_step

RECIPE = {
    "model": {
        "vocab_size": 300, "layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "hidden": 32, "context": 32,
        "mask": "sliding_window(8)",
    },
    "train": {"steps": 12, "batch_rows": 2, "warmup_steps": 2},
}  # fmt: skip


def explain(*arguments: object, cwd: Path) -> Done:
    return maskwork("explain", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, a recipe and a run that was begun."""
    folder = tmp_path_factory.mktemp("explain")
    (folder / "text").mkdir()
    for i in range(20):
        lines = "".join(f"line {j} of file {i}: the cat sat on mat {i * j}\n" for j in range(1 + i % 5))
        (folder / "text" / f"{i}.txt").write_text(lines)
    values = {**RECIPE["model"]}
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    train = "\n".join(f"{name} = {json.dumps(value)}" for name, value in RECIPE["train"].items())
    (folder / "recipe.toml").write_text(f"[model]\n{table}\n[train]\n{train}\n")
    RunFolder.create(folder / "run", experiment(folder).config)
    return folder


def experiment(folder: Path) -> Experiment:
    return Experiment.prepare(str(folder / "text"), Recipe.from_dict(RECIPE), cache_dir=folder / "cache")


@pytest.mark.parametrize("step", [1, 5])
def test_the_rows_are_those_that_training_sees(work: Path, step: int):
    done = explain("run", "--step", step, "--json", "-", cwd=work)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    made = experiment(work)
    order = rows_of_step(len(made.train_rows), 2, made.recipe.train.seed, step - 1)
    batch = made.objective([made.train_rows[i] for i in order])
    for name, tensor in (("id", batch.input_ids), ("target", batch.targets), ("document", batch.document_ids)):
        assert [[token[name] for token in row["tokens"]] for row in told["rows"]] == tensor.tolist()
    assert told["warnings"] == []


def test_a_run_and_its_text_with_its_recipe_are_the_same(work: Path):
    run = explain("run", cwd=work)
    text = explain("--data", "text", "--config", "recipe.toml", cwd=work)
    assert run.returncode == text.returncode == 0, run.stderr + text.stderr
    assert run.stdout == text.stdout
    assert run.stdout.startswith("batch of 2 rows: ")
    assert "\x1b" not in run.stdout
    assert "2 documents, 0 padding\n" in run.stdout.splitlines(keepends=True)[0]  # a line of a log is not broken


def test_files_are_written_beside_what_is_printed(work: Path, tmp_path: Path):
    done = explain("run", "--rows", 1, "--html", tmp_path / "b.html", "--json", tmp_path / "b.json", cwd=work)
    assert done.stdout.startswith("batch of 1 row: ")
    assert (tmp_path / "b.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["rows"]) == 1


def test_other_objectives_score_the_same_rows(work: Path):
    tokens = {}
    for name in ("causal", "masked", "prefix"):
        told = json.loads(explain("run", "--objective", name, "--seed", 3, "--json", "-", cwd=work).stdout)
        assert told["warnings"] == []
        tokens[name] = [token for row in told["rows"] for token in row["tokens"]]
    assert [t["id"] for t in tokens["prefix"]] == [t["id"] for t in tokens["causal"]]
    assert "CONTEXT" in {t["reason"] for t in tokens["prefix"]}
    hidden = [t for t in tokens["masked"] if t["reason"] == "MASKED"]
    assert hidden
    for token in hidden:
        assert token["text"] == "[MASK]"
    for token, before in zip(tokens["masked"], tokens["causal"], strict=True):
        assert (token["target"] if token["scored"] else token["id"]) == before["id"]
    again = explain("run", "--objective", "masked", "--seed", 4, "--json", "-", cwd=work).stdout
    assert json.loads(again)["rows"][0]["tokens"] != tokens["masked"][:32]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "got neither"),
        (["run", "--data", "text"], "got both"),
        (["run", "--config", "recipe.toml"], "has its own recipe"),
        (["run", "--rows", "3"], "at most the 2 rows of a step, got 3"),
        (["text"], "text"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "text", "--config", "none.toml"], "none.toml"),
        (["run", "--html", "no/where/b.html"], "no/where"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(work: Path, arguments: list[str], words: str):
    done = explain(*arguments, cwd=work)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_run_whose_text_has_changed_is_not_explained(work: Path):
    (work / "text" / "new.txt").write_text("a line that the run has never seen\n")
    try:
        done = explain("run", cwd=work)
    finally:
        (work / "text" / "new.txt").unlink()
    assert done.returncode == 2
    assert "data.digest" in done.stderr
