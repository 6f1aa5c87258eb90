"""The text form: `parse("causal & (sliding_window(4096) | sinks(4))")`, by recursive descent, never by `eval`.

expression := a | b,  a ^ b,  a & b,  a - b,  ~a,  a.shift(q=1, k=0)  or an atom, from the loosest to the tightest, as
              in Python
atom       := name | name(argument, …) | (expression)
argument   := [name =] (integer | None | [integers or lists of them] | expression | [expressions])
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import MaskError, ParseError
from .registry import make
from .spec import MAX_TEXT

if TYPE_CHECKING:
    from .._mask import Mask

# Limits for hostile input, far below what fills the memory or Python's stack.
MAX_DEPTH = 50
MAX_DIGITS = 19

_TOKEN = re.compile(r"(?P<name>[A-Za-z_]\w*)|(?P<int>[0-9]+)|(?P<sign>[-&|^~.()\[\],=])|(?P<space>\s+)", re.ASCII)


def parse(text: str) -> Mask:
    """Read a mask from its text form.

    Args:
        text: atoms with Python's operators `~ - & ^ |` in Python's order of binding, brackets and `.shift(q=1, k=0)`.
            An atom without arguments needs no brackets. At most 100,000 characters, 50 levels deep.

    Raises:
        ParseError: with a caret under the place.

    >>> import maskwork as mw
    >>> mw.parse("causal & (sliding_window(4096) | sinks(4))")
    causal & (sinks(4) | sliding_window(4096))
    >>> mw.parse("causal & slidingwindow(3)")
    Traceback (most recent call last):
    ...
    maskwork.errors.ParseError: a mask is made of known atoms, got 'slidingwindow'; did you mean 'sliding_window'?
      causal & slidingwindow(3)
               ^
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ParseError(f"parse takes a text, got {type(text).__name__}; masks need no parsing")
    if len(text) > MAX_TEXT:
        raise ParseError(f"a mask's text may have {MAX_TEXT} characters, got {len(text)}; build it in Python instead")
    parser = _Parser(text)
    try:
        mask = parser.expression(0)
    except RecursionError:
        parser.fail("a mask's text is nested deeper than what is left of Python's stack; call parse from less deep")
    if parser.token.kind != "end":
        parser.fail(f"a mask ends here, got {parser.token.text[:40]!r}; join two masks with & or |")
    return mask


def check_readable(text: str) -> None:
    """Raise `MaskError` where `parse` cannot read a full text of a mask: it is too long or nested too deep."""
    try:
        parse(text)
    except ParseError as error:
        reason = str(error).partition("\n")[0].partition(";")[0]
        raise MaskError(f"{reason}, and {text[:60]!r} has none that can be read back; use to_json") from None


@dataclass(frozen=True)
class _Token:
    """A token of the text.

    Attributes:
        kind: "name", "int", "sign" or "end".
        text: its characters.
        start: the index of its first character.
    """

    kind: str
    text: str
    start: int


class _Parser:
    """A recursive descent: one method per level of the grammar, the loosest operator first.

    `depth` counts the brackets, lists and `~` that are open.
    """

    def __init__(self, text: str) -> None:
        self.source = text
        self.tokens = self._tokens()
        self.index = 0

    def _tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while position < len(self.source):
            match = _TOKEN.match(self.source, position)
            if match is None:
                if re.match(r"<\w+\[", self.source[position:]):
                    self.fail(
                        'a long array prints as a digest, which cannot be read back; use to_text(arrays="full"), or '
                        "to_json and from_json",
                        position,
                    )
                fix = "; write ~ for not" if self.source[position] == "!" else ""
                self.fail(
                    "a mask is written with names, numbers and ~ - & ^ | . ( ) [ ] , =, got "
                    f"{self.source[position]!r}{fix}",
                    position,
                )
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match[kind], position))
            position = match.end()
        return [*tokens, _Token("end", "the end", len(self.source))]

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        position = self.token.start if position is None else position
        # Of a long text, only the stretch round the caret is printed.
        left, right = max(0, position - 60), position + 20
        stretch = re.sub(r"\s", " ", self.source[left:right]).encode("utf-8", "replace").decode()
        before, after = "…" * (left > 0), "…" * (right < len(self.source))
        raise ParseError(f"{message}\n  {before}{stretch}{after}\n  {' ' * (len(before) + position - left)}^")

    def accept(self, sign: str) -> bool:
        if self.token.kind == "sign" and self.token.text == sign:
            self.index += 1
            return True
        return False

    def expect(self, sign: str, opened: _Token) -> None:
        """Accept `sign` inside the bracket `opened`, or fail."""
        if self.accept(sign):
            return
        text = self.token.text
        if self.token.kind == "end":
            self.fail(f"a bracket is closed, {opened.text!r} at column {opened.start + 1} is not; close it")
        hint = {"and": "; join masks with &", "or": "; join masks with |", ".": "; numbers are whole"}.get(text, "")
        self.fail(f"expected {sign!r}, got {text[:40]!r}{hint}")

    def expression(self, depth: int) -> Mask:
        start = self.token.start
        terms = [self.exclusion(depth)]
        while self.accept("|"):
            terms.append(self.exclusion(depth))
        # All terms are joined in one call: a long text must not cost its length squared.
        return self.make(start, "|", terms)

    def exclusion(self, depth: int) -> Mask:
        start = self.token.start
        terms = [self.conjunction(depth)]
        while self.accept("^"):
            terms.append(self.conjunction(depth))
        return self.make(start, "^", terms)

    def conjunction(self, depth: int) -> Mask:
        start = self.token.start
        terms = [self.difference(depth)]
        while self.accept("&"):
            terms.append(self.difference(depth))
        return self.make(start, "&", terms)

    def difference(self, depth: int) -> Mask:
        start = self.token.start
        terms = [self.unary(depth)]
        while self.accept("-"):
            terms.append(~self.unary(depth))
        return self.make(start, "&", terms)

    def make(self, position: int, name: str, args: list[Any], keywords: dict[str, Any] | None = None) -> Mask:
        """Return the mask of a call, or fail with a caret at `position`."""
        if len(args) == 1 and name in "|^&":
            return args[0]
        try:
            return make(name, args, keywords or {})
        except MaskError as error:
            self.fail(str(error), position)

    def unary(self, depth: int) -> Mask:
        if depth > MAX_DEPTH:
            self.fail(f"a mask's text may be nested {MAX_DEPTH} deep; build it in Python instead")
        if self.accept("~"):
            return ~self.unary(depth + 1)
        opened = self.token
        # A bracket, or an atom with its arguments; then any number of shifts.
        if self.accept("("):
            mask = self.expression(depth + 1)
            self.expect(")", opened)
        elif self.token.kind == "name":
            mask = self.atom(depth)
        else:
            self.fail(f"expected an atom such as causal, got {self.token.text[:40]!r}")
        while self.accept("."):
            method = self.token
            if method.text != "shift":
                self.fail(f"a mask has .shift(q=…, k=…) alone, got {method.text[:40]!r}")
            self.index += 1
            args, keywords = self.arguments(depth)
            mask = self.make(method.start, ".shift", [mask, *args], keywords)
        return mask

    def atom(self, depth: int) -> Mask:
        name = self.token
        self.index += 1
        args, keywords = self.arguments(depth)
        return self.make(name.start, name.text, args, keywords)

    def arguments(self, depth: int) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        keywords: dict[str, Any] = {}
        opened = self.token
        if self.accept("("):
            while not self.accept(")"):
                if args or keywords:
                    self.expect(",", opened)
                self.argument(args, keywords, depth)
        return args, keywords

    # `name=value`, or a value alone before all named ones, as in Python.
    def argument(self, args: list[Any], keywords: dict[str, Any], depth: int) -> None:
        token, after = self.token, self.tokens[min(self.index + 1, len(self.tokens) - 1)]
        if token.kind == "name" and after.text == "=" and after.kind == "sign":
            if token.text in keywords:
                self.fail(f"the argument {token.text!r} is given twice")
            self.index += 2
            keywords[token.text] = self.value(depth + 1)
        elif keywords:
            self.fail("an argument without a name comes before those with one")
        else:
            args.append(self.value(depth + 1))

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self.fail(f"a mask's text may be nested {MAX_DEPTH} deep; build it in Python instead")
        opened = self.token
        if self.accept("["):
            items: list[Any] = []
            while not self.accept("]"):
                if items:
                    self.expect(",", opened)
                items.append(self.value(depth + 1))
            return items
        after = self.tokens[min(self.index + 1, len(self.tokens) - 1)]
        # `-` is no operator of numbers: it belongs to the integer that follows.
        negative = self.token.text == "-" and after.kind == "int"
        if negative:
            self.index += 1
        if self.token.kind == "int":
            if len(self.token.text) > MAX_DIGITS:
                self.fail(f"a number may have {MAX_DIGITS} digits")
            value = int(self.token.text)
            self.index += 1
            return -value if negative else value
        if self.token.kind == "name" and self.token.text == "None":
            self.index += 1
            return None
        return self.expression(depth)
