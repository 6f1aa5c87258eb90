"""Atoms register themselves, and documents say of each atom what it says of itself."""

import ast
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import maskwork as mw
from maskwork.explorer._answers.gallery import PATTERNS
from maskwork.masks._text import registry
from maskwork.masks._text.registry import MAKERS, Form, atoms

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "guides" / "masks.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMS = [(atom, form) for atom in atoms() for form in atom.forms]


def test_every_public_maker_is_an_atom():
    makers = {name for name in mw.masks.__all__ if inspect.isfunction(getattr(mw.masks, name))}
    # Helpers, and the makers that return a bias too.
    makers -= {"as_q_start", "parse", "missing_q_start", "from_additive", "from_mha"}
    assert {atom.name for atom in atoms()} == makers
    assert set(MAKERS) == {atom.name for atom in atoms() if atom.parsed} == makers - {"custom"}
    assert list(MAKERS)[:4] == ["full", "empty", "causal", "sliding_window"], "the order of messages and guides"


def test_the_registry_imports_no_mask():
    tree = ast.parse(Path(registry.__file__).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    assert [node.module for node in imports] == ["errors"]


JSON = '{"maskwork":1,"mask":{"name":"tree","args":[[-1,0]]}}'


@pytest.mark.parametrize(
    "code",
    [
        f"from maskwork.masks import Mask; print(Mask.from_json({JSON!r}))",
        "from maskwork.masks import parse; print(parse('tree([-1, 0])'))",
        "from maskwork.masks._text.registry import make; print(make('tree', [[-1, 0]], {}))",
        f"import pickle; print(pickle.loads({pickle.dumps(mw.tree([-1, 0]))!r}))",
    ],
    ids=["json", "text", "registry", "pickle"],
)
def test_atoms_are_known_whatever_was_imported(code: str):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tree([-1, 0])"


@pytest.mark.parametrize(("atom", "form"), FORMS, ids=lambda value: value.call if isinstance(value, Form) else "")
def test_an_atom_says_what_its_docstring_says(atom: registry.Atom, form: Form):
    assert form.call.startswith(f"{atom.name}(")
    assert form.meaning
    docstring = inspect.getdoc(atom.maker) or ""
    assert not form.formula or "[" in form.formula or "(" in form.formula or form.formula.split()[0] in docstring
    parameters = set(inspect.signature(atom.maker).parameters)
    arguments = re.findall(r"[a-z_]\w*", form.call.partition("(")[2])
    assert set(arguments) <= parameters


def rule_in(table: str, atom: registry.Atom, form: Form) -> bool:
    """Return whether a table's row for this call has the atom's formula, or its meaning where it has no formula.

    A row that shows the call with numbers, such as `sinks(3)`, has the formula with these numbers: `k < 3`.
    """
    keyword = re.search(r"\w+=", form.call)
    call = rf"`({atom.name}\({keyword[0] if keyword else '(?![a-z]+=)'}.*?\))`"
    row = next((line.replace("\\|", "|") for line in table.splitlines() if re.match(rf"\|.*{call}.* \|", line)), None)
    assert row, f"no row for {form.call}"
    try:
        spec = mw.parse(str(re.search(call, row)[1]))._spec()  # type: ignore[index]
        values = atom.values_of(spec) if spec.name == atom.name else {}
    except mw.errors.ParseError:  # a call with names in the place of numbers
        values = {}
    rule = form.rule(values)
    return (f"`{rule.split('`')[1]}`" if form.formula else rule) in row


@pytest.mark.parametrize(("atom", "form"), FORMS, ids=lambda value: value.call if isinstance(value, Form) else "")
def test_the_guide_says_the_rule_of_each_atom(atom: registry.Atom, form: Form):
    assert rule_in(GUIDE, atom, form)


@pytest.mark.parametrize(("atom", "form"), FORMS, ids=lambda value: value.call if isinstance(value, Form) else "")
def test_the_readme_says_the_rule_of_each_atom(atom: registry.Atom, form: Form):
    assert rule_in(README, atom, form)


def test_the_gallery_says_the_rule_of_each_atom():
    rules = {pattern.name: pattern.used for pattern in PATTERNS}
    assert rules["sliding_window"] == "q - 4 < k <= q: the last 4 keys, the query's own included"
    assert rules["padding, left"] == "k >= 4: padding on the left"
    assert rules["tree"] == "k is q or one of its ancestors"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cusal", "did you mean 'causal'"),
        ("zzzzzz", "the atoms are full, empty, causal, sliding_window, band"),
        ("custom", "got 'custom'"),
        ("gpt", "write out the recipe"),
        ("and", "write &"),
    ],
)
def test_an_unknown_name_gets_advice(name: str, words: str):
    with pytest.raises(mw.errors.MaskError, match=words):
        registry.make(name, [], {})


def test_an_atom_of_ones_own_joins_by_its_decorator(monkeypatch: pytest.MonkeyPatch):
    for table in ("_atoms", "_makers"):
        monkeypatch.setattr(registry, table, getattr(registry, table).copy())

    @registry.atom(Form("diagonal()", "k == q", "the query's own key"))
    def diagonal() -> mw.Mask:
        return mw.band(0, 0)

    assert registry.atoms()[-1].maker is diagonal
    assert registry.atoms()[-1].forms[0].rule() == "`k == q`: the query's own key"
