"""Lengths: the longest function in Python and in JavaScript, the longest file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .checkout import PACKAGE, Checkout, functions
from .figure import Figure

MOST_PYTHON, MOST_JAVASCRIPT, MOST_FILE = 100, 120, 500


def measure(checkout: Checkout) -> list[Figure]:
    """Measure the longest Python function, JavaScript function and Python or JavaScript file, in lines."""
    python = {
        f"{source.path}:{node.lineno}: {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for source in checkout.sources
        for node in functions(source.tree)
    }
    scripts = {path: checkout.read(path) for path in checkout.below(PACKAGE, ".js")}
    javascript = {
        f"{path}:{start}: {name}": end - start + 1
        for path, text in scripts.items()
        for name, start, end in javascript_functions(text)
    }
    files = {f"{source.path}:1": len(source.text.splitlines()) for source in checkout.sources}
    files |= {f"{path}:1": len(text.splitlines()) for path, text in scripts.items()}
    return [
        _figure("functions", "longest Python function, lines", python, MOST_PYTHON),
        _figure("javascript", "longest JavaScript function, lines", javascript, MOST_JAVASCRIPT),
        _figure("file-length", "longest file, lines", files, MOST_FILE),
    ]


def _figure(key: str, title: str, lengths: dict[str, int], most: int) -> Figure:
    longest = max(lengths.values(), default=0)
    offenders = sorted(((length, place) for place, length in lengths.items() if length > most), reverse=True)
    details = tuple(f"{place}: {length} lines" for length, place in offenders)
    return Figure(key, f"{title} ({len(offenders)} over {most})", longest, f"<= {most}", longest <= most, details)


#: What may come before a regular expression; after anything else `/` divides.
_BEFORE_REGEX = re.compile(
    r"(^|[=(,:;!&|?{}\[+\-*%<>~^]|\b(return|typeof|case|in|of|delete|void|throw|await|yield|else|do))\s*$"
)
_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
_REGEX = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/[a-z]*")


def blank_text(script: str) -> str:
    """Return a script with the text of comments, strings, templates and regular expressions blanked, lines kept.

    What a template computes in `${...}` is code and stays.
    """
    out: list[str] = []
    templates: list[int] = []  # of every template that is open: the braces open inside its `${...}`, -1 in its text
    i = 0

    def blank(end: int) -> None:
        nonlocal i
        out.append(re.sub(r"[^\n]", " ", script[i:end]))
        i = end

    while i < len(script):
        character = script[i]
        if templates and templates[-1] == -1:
            if script.startswith("${", i):
                out.append(" {")
                templates[-1] = 0
                i += 2
            elif character == "`":
                templates.pop()
                blank(i + 1)
            else:
                blank(i + 2 if character == "\\" else i + 1)
        elif token := _TOKEN.match(script, i):
            blank(token.end())
        elif character == "`":
            templates.append(-1)
            blank(i + 1)
        elif (
            character == "/"
            and (regex := _REGEX.match(script, i))
            and _BEFORE_REGEX.search("".join(out[-40:]))
        ):  # fmt: skip
            blank(regex.end())
        else:
            if templates and character in "{}":
                templates[-1] += 1 if character == "{" else -1  # -1 again: back in the template's text
            out.append(character)
            i += 1
    return "".join(out)


_NO_FUNCTION = {"if", "for", "await", "while", "switch", "catch", "with"}


def javascript_functions(script: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, first and last line of every function, method and arrow function of a script."""
    code = blank_text(script)
    stack: list[tuple[str, int]] = []
    closing: dict[int, int] = {}  # opening bracket -> closing one
    opening: dict[int, int] = {}
    for i, character in enumerate(code):
        if character in "([{":
            stack.append((character, i))
        elif character in ")]}" and stack:
            _, start = stack.pop()
            closing[start], opening[i] = i, start
    for start, end in sorted(closing.items()):
        head = code[:start].rstrip()
        arrow = head.endswith("=>")
        if code[start] == "[" or (code[start] == "(" and not arrow):
            continue
        head = head.removesuffix("=>").rstrip()
        first = opening.get(len(head) - 1, start) if head.endswith(")") else len(head)
        name = re.search(r"([\w$#]+)\s*$", code[:first])
        if not arrow and (not head.endswith(")") or name is None or name[1] in _NO_FUNCTION):
            continue
        if arrow:  # `const name = (...) =>`, `name: (...) =>`
            name = re.search(r"([\w$]+)\s*[=:]\s*(?:async\s*)?(?:[\w$]+)?$", code[:first])
        yield (name[1] if name else "=>"), code.count("\n", 0, first) + 1, code.count("\n", 0, end) + 1
