"""Our masks, biases and attention equal those of other libraries: one test per row of docs/guides/migrating.md."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
# The benchmarks are no package that could be installed.
sys.path.insert(0, str(ROOT / "benchmarks"))

pytest.importorskip("transformers")
pytest.importorskip("attn_gym")

from _peers import compare, peers  # noqa: E402

# Modules of the benchmarks have names of tests' folders.
sys.path.remove(str(ROOT / "benchmarks"))

ROWS = {row.name: row for peer in peers() for row in peer.rows}
#: Rows that run models, the only ones that take long.
SLOW = "hugging_face_models."
#: Cases of each row that every run compares; `make test-slow` compares all.
FEW = 24


def check(name: str, limit: int | None) -> None:
    counts, details = compare(ROWS[name], limit)
    if not ROWS[name].why:
        assert not counts["different"] + counts["refused"], "\n".join(details)
    assert counts.total()


@pytest.mark.parametrize("name", [name for name in ROWS if not name.startswith(SLOW)])
def test_a_row(name: str):
    check(name, FEW)


@pytest.mark.slow  # dozens of tiny models, and all cases
@pytest.mark.parametrize("name", ROWS)
def test_a_row_with_all_cases(name: str):
    check(name, None)


def test_a_row_that_differs_says_where():
    row = ROWS["flash_attention.causal_window"]
    wrong = type(row)(row.name, row.call, row.ours.replace("left + 1", "left + 2"), row.cases)
    counts, details = compare(wrong)
    assert counts["different"]
    assert "True, theirs False" in details[0]


def test_a_row_that_needs_a_missing_name_is_not_expressible():
    row = ROWS["flash_attention.causal"]
    unknown = type(row)(row.name, row.call, "no_such_atom(q_len) & causal(no_such=1)", row.cases)
    counts, details = compare(unknown)
    assert counts == {"not expressible": len(details)}
    assert "maskwork has no no_such_atom, causal(no_such=)" in details[0]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_migrating", ROOT / "docs" / "make_migrating.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guide_is_what_the_rows_say():
    generator = load_generator()
    page = generator.PAGE.read_text(encoding="utf-8")
    assert generator.write(page) == page, "run: python docs/make_migrating.py"


def test_every_test_that_the_guide_names_exists():
    page = load_generator().PAGE.read_text(encoding="utf-8")
    named = re.findall(r"^\|.*\| `(\w+\.\w+)` \|$", page, flags=re.MULTILINE)
    assert len(named) > 60
    assert set(named) <= set(ROWS)
