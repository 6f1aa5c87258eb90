"""The text form: `parse("causal & (sliding_window(4096) | sinks(4))")`, by recursive descent, never by `eval`.

expression := a | b,  a ^ b,  a & b,  a - b,  ~a,  a.shift(q=1, k=0)  or an atom, from the loosest to the tightest, as
              in Python
atom       := name | name(argument, …) | (expression)
argument   := [name =] (integer | None | [integers or lists of them] | expression | [expressions])
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from ...errors import MaskError, ParseError
from .._mask import Mask
from .registry import make

# Hostile input ends here rather than in Python's recursion limit or in memory.
MAX_TEXT = 100_000
MAX_DEPTH = 50
MAX_DIGITS = 19

_TOKEN = re.compile(r"(?P<name>[A-Za-z_]\w*)|(?P<int>[0-9]+)|(?P<sign>[-&|^~.()\[\],=])|(?P<space>\s+)", re.ASCII)


def parse(text: str) -> Mask:
    """The mask that a text says.

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
    maskwork.errors.ParseError: a mask is made of known atoms, found 'slidingwindow'; did you mean 'sliding_window'?
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
        parser.fail(f"a mask ends here, found {parser.token.text[:40]!r}; join two masks with & or |")
    return mask


@dataclass(frozen=True)
class _Token:
    kind: str  # name, int, sign or end
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.source = text
        self.tokens = self._tokens()
        self.index = 0

    def _tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self.source):
            match = _TOKEN.match(self.source, at)
            if match is None:
                if re.match(r"<\w+\[", self.source[at:]):
                    self.fail(
                        "a long array prints as a digest, which cannot be read back; use to_json and from_json", at
                    )
                instead = "; write ~ for not" if self.source[at] == "!" else ""
                self.fail(
                    "a mask is written with names, numbers and ~ - & ^ | . ( ) [ ] , =, found "
                    f"{self.source[at]!r}{instead}",
                    at,
                )
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match[kind], at))
            at = match.end()
        return [*tokens, _Token("end", "the end", len(self.source))]

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        at = self.token.at if at is None else at
        # A line of a long text is shown as the stretch round the caret.
        left, right = max(0, at - 60), at + 20
        shown = re.sub(r"\s", " ", self.source[left:right]).encode("utf-8", "replace").decode()
        before, after = "…" * (left > 0), "…" * (right < len(self.source))
        raise ParseError(f"{message}\n  {before}{shown}{after}\n  {' ' * (len(before) + at - left)}^")

    def accept(self, sign: str) -> bool:
        if self.token.kind == "sign" and self.token.text == sign:
            self.index += 1
            return True
        return False

    def expect(self, sign: str, opened: _Token) -> None:
        """`sign`, within the bracket that is `opened`."""
        if self.accept(sign):
            return
        found = self.token.text
        if self.token.kind == "end":
            self.fail(f"a bracket is closed, {opened.text!r} at column {opened.at + 1} is not; close it")
        hint = {"and": "; join masks with &", "or": "; join masks with |", ".": "; numbers are whole"}.get(found, "")
        self.fail(f"expected {sign!r}, found {found[:40]!r}{hint}")

    def expression(self, depth: int) -> Mask:
        start = self.token.at
        terms = [self.exclusion(depth)]
        while self.accept("|"):
            terms.append(self.exclusion(depth))
        # all at once: a long text must not cost its length squared
        return self.made(start, "|", terms)

    def exclusion(self, depth: int) -> Mask:
        start = self.token.at
        terms = [self.conjunction(depth)]
        while self.accept("^"):
            terms.append(self.conjunction(depth))
        return self.made(start, "^", terms)

    def conjunction(self, depth: int) -> Mask:
        start = self.token.at
        terms = [self.difference(depth)]
        while self.accept("&"):
            terms.append(self.difference(depth))
        return self.made(start, "&", terms)

    def difference(self, depth: int) -> Mask:
        start = self.token.at
        terms = [self.unary(depth)]
        while self.accept("-"):
            terms.append(~self.unary(depth))
        return self.made(start, "&", terms)

    def made(self, at: int, name: str, args: list[Any], named: dict[str, Any] | None = None) -> Mask:
        """The mask, or a caret at `at`."""
        if len(args) == 1 and name in "|^&":
            return args[0]
        try:
            return make(name, args, named or {})
        except MaskError as error:
            self.fail(str(error), at)

    def unary(self, depth: int) -> Mask:
        if depth > MAX_DEPTH:
            self.fail(f"a mask's text may be nested {MAX_DEPTH} deep; build it in Python instead")
        if self.accept("~"):
            return ~self.unary(depth + 1)
        opened = self.token
        if self.accept("("):
            mask = self.expression(depth + 1)
            self.expect(")", opened)
        elif self.token.kind == "name":
            mask = self.atom(depth)
        else:
            self.fail(f"expected an atom such as causal, found {self.token.text[:40]!r}")
        while self.accept("."):
            method = self.token
            if method.text != "shift":
                self.fail(f"a mask has .shift(q=…, k=…) alone, found {method.text[:40]!r}")
            self.index += 1
            args, named = self.arguments(depth)
            mask = self.made(method.at, ".shift", [mask, *args], named)
        return mask

    def atom(self, depth: int) -> Mask:
        name = self.token
        self.index += 1
        args, named = self.arguments(depth)
        return self.made(name.at, name.text, args, named)

    def arguments(self, depth: int) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        named: dict[str, Any] = {}
        opened = self.token
        if self.accept("("):
            while not self.accept(")"):
                if args or named:
                    self.expect(",", opened)
                self.argument(args, named, depth)
        return args, named

    def argument(self, args: list[Any], named: dict[str, Any], depth: int) -> None:
        token, after = self.token, self.tokens[min(self.index + 1, len(self.tokens) - 1)]
        if token.kind == "name" and after.text == "=" and after.kind == "sign":
            if token.text in named:
                self.fail(f"the argument {token.text!r} is given twice")
            self.index += 2
            named[token.text] = self.value(depth + 1)
        elif named:
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
