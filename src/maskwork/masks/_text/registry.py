"""The registry of atoms, operators and recipes, which register themselves: no file of masks is imported here.

    @atom(Form("causal()", "k <= q", "the query's own key and all before it"))
    def causal() -> Mask: ...

Text, JSON and pickle make masks by the names in it; guides, the README and the explorer take an atom's meaning from it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...errors import MaskError

if TYPE_CHECKING:
    from .._mask import Mask
    from .spec import Spec

MaskMaker = Callable[..., "Mask"]
M = TypeVar("M", bound=MaskMaker)


class Form(NamedTuple):
    """One way to call an atom, and what the mask then means.

    Attributes:
        call: the call as documents show it, such as `padding(starts=…)`.
        formula: the condition on positions `q` and `k` under which the query may see the key, in Python's signs; empty
            where words say it better.
        meaning: the condition in plain words, code in backticks.
    """

    call: str
    formula: str
    meaning: str

    def rule(self, values: Mapping[str, Any] | None = None) -> str:
        """Return formula and meaning as one line of Markdown, integers of `values` in the place of parameters.

        >>> Form("sinks(n)", "k < n", "the first `n` keys").rule({"n": 4})
        '`k < 4`: the first `4` keys'
        """
        text = f"`{self.formula}`: {self.meaning}" if self.formula else self.meaning
        # A bound on keys is an array of no dimensions.
        numbers = {
            name: str(value)
            for name, value in (values or {}).items()
            if isinstance(value, int) or getattr(value, "ndim", 1) == 0
        }

        def fill(code: re.Match[str]) -> str:
            return re.sub(r"[A-Za-z_]\w*", lambda name: numbers.get(name[0], name[0]), code[0])

        return re.sub(r"`[^`]*`", fill, text)


class Atom(NamedTuple):
    """An atom that registered itself.

    Attributes:
        name: the name of its function.
        maker: the function, which raises `MaskError` for arguments that break a rule.
        forms: the ways to call the function, the usual one first.
        parsed: whether text and JSON can carry the call; they cannot carry a function.
    """

    name: str
    maker: MaskMaker
    forms: tuple[Form, ...]
    parsed: bool

    def form_of(self, spec: Spec) -> Form:
        """Return the form with the keyword arguments of `spec`, the first one where none has them."""
        return next(
            (form for form in self.forms if any(f"{name}=" in form.call for name in spec.keywords)), self.forms[0]
        )

    def values_of(self, spec: Spec) -> dict[str, Any]:
        """Return the arguments of `spec` by the names of their parameters."""
        return inspect.signature(self.maker).bind(*spec.args, **spec.keywords).arguments


# The registry is written while the files of `masks` are imported, and read only afterwards.
_atoms: dict[str, Atom] = {}
_makers: dict[str, MaskMaker] = {}
_operators: dict[str, MaskMaker] = {}
_recipes: set[str] = set()

#: The makers that text and JSON know, in the order in which messages and guides name them (see `_atoms/__init__.py`).
#: A maker takes the arguments of a `Spec`, lists in the place of arrays too.
MAKERS: Mapping[str, MaskMaker] = MappingProxyType(_makers)
#: The operators, by their sign in a `Spec`.
OPERATORS: Mapping[str, MaskMaker] = MappingProxyType(_operators)


def atom(*forms: Form, parsed: bool = True) -> Callable[[M], M]:
    """Register the decorated function as an atom with these forms."""

    def register(maker: M) -> M:
        name = maker.__name__
        _atoms[name] = Atom(name, maker, forms, parsed)
        if parsed:
            _makers[name] = maker
        return maker

    return register


def operator(sign: str) -> Callable[[M], M]:
    """Register the decorated function as the operator that a `Spec` names `sign`."""

    def register(maker: M) -> M:
        _operators[sign] = maker
        return maker

    return register


def register_recipes(names: Iterable[str]) -> None:
    """Register names of recipes: a message then says why text cannot call them."""
    _recipes.update(names)


def atoms() -> tuple[Atom, ...]:
    """Return all atoms, in the order in which guides show them."""
    return tuple(_atoms.values())


def make(name: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> Mask:
    """Return the mask of `Spec(name, args, keywords)`.

    Raises:
        MaskError: no atom or operator has this name, or the arguments break its rules.
    """
    maker = MAKERS.get(name) or OPERATORS.get(name)
    if maker is None:
        raise MaskError(f"a mask is made of known atoms, got {name[:40]!r}; {_fix_for_name(name)}")
    # The arguments come from outside: what does not fit the signature is the caller's mistake, not a TypeError of ours.
    try:
        inspect.signature(maker).bind(*args, **keywords)
    except TypeError as error:
        parameters = ", ".join(str(p).split(":")[0] for p in inspect.signature(maker).parameters.values())
        raise MaskError(f"{name} takes ({parameters}): {error}") from None
    return maker(*args, **keywords)


def _fix_for_name(name: str) -> str:
    """Return the advice for a name that no atom has."""
    from difflib import get_close_matches  # imported here: only a mistake needs it

    words = {"and": "write &", "or": "write |", "not": "write ~", "xor": "write ^", "mw": "leave out 'mw.'"}
    if name in words:
        return words[name]
    if name == "recipes" or name in _recipes:
        return "write out the recipe, as its repr does"
    close = get_close_matches(name, MAKERS, n=1)
    return f"did you mean {close[0]!r}?" if close else f"the atoms are {', '.join(MAKERS)}"
