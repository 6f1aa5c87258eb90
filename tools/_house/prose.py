"""Prose in code: comments, voices of docstrings, dialects of messages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator

from .checkout import PACKAGE, Checkout, Source
from .figure import Figure
from .words import ALSO_NOUNS, NOT_A_NOUN_PHRASE, VERBS

LEAST_COMMENTS = 5

_PRAGMA = re.compile(r"#:?\s*(type|noqa|pyright|basedpyright|fmt|ruff|pragma|mypy)\b\s*[:\[]|#\s*noqa\b")
_NO_CODE = {
    tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT,
}  # fmt: skip


def measure_comments(checkout: Checkout) -> Figure:
    """Measure the comments per 100 lines of code.

    A comment is a full line, an attribute's `#:` or the end of a line of code; a pragma does not count. A line of code
    is neither blank nor a comment nor part of a docstring.
    """
    folders: dict[str, Counter[str]] = {}
    for source in checkout.sources:
        comments, code = comments_and_code(source)
        parts = source.path.relative_to(PACKAGE).parts
        counter = folders.setdefault(parts[0] + "/" if len(parts) > 1 else "(top)", Counter())
        counter.update(comments=comments, code=code)
    total: Counter[str] = Counter()
    for counter in folders.values():
        total.update(counter)
    details = tuple(f"{folder}: {_rate(c)} ({c['comments']} / {c['code']})" for folder, c in sorted(folders.items()))
    rate, enough = _rate(total), 100 * total["comments"] >= LEAST_COMMENTS * total["code"]
    return Figure("comments", "comments per 100 lines of code", rate, f">= {LEAST_COMMENTS}", enough, details)


def comments_and_code(source: Source) -> tuple[int, int]:
    """Count the comments and the lines of code of a file."""
    comments, code = 0, set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            comments += not _PRAGMA.match(token.string) and bool(token.string.strip("#: "))
        if token.type not in _NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    for node in _documented(source.tree):
        if docstring := _docstring(node):
            code -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    lines = source.text.splitlines()
    return comments, sum(bool(lines[line - 1].strip()) for line in code)


def _rate(counter: Counter[str]) -> float:
    return round(100 * counter["comments"] / max(counter["code"], 1), 1)


def measure_docstrings(checkout: Checkout) -> Figure:
    """Count the docstrings in another voice: a function's begins with an imperative, a class's is a noun phrase."""
    offenders = [
        f"{source.path}:{docstring.lineno}: {fault}"
        for source in checkout.sources
        for node in _documented(source.tree)
        if (docstring := _docstring(node)) and (fault := voice_fault(node, docstring.value))
    ]
    return Figure("docstrings", "docstrings in another voice", len(offenders), "0", not offenders, tuple(offenders))


def voice_fault(node: ast.AST, docstring: str) -> str | None:
    """Return what is wrong with the voice of a docstring's first line, or None.

    A property's is a noun phrase, or begins with `Whether`. A verb that is a noun too (`Count`, `Plan`) is read as the
    noun before `of`, `that` and similar words, and as the verb before an article.
    """
    line = docstring.strip().partition("\n")[0]
    words = [*re.findall(r"[\w'’-]+|\S", line)[:2], "", ""]
    verb = words[0] in VERBS
    if verb and words[0] in ALSO_NOUNS:
        verb = words[1] not in ("of", "that", "which", "whose", "with")
    if isinstance(node, ast.Module):
        return None
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_property(node):
        return None if verb else f"{node.name}: no imperative: {line}"
    name = getattr(node, "name", "")
    if words[0] in VERBS and (
        words[0] not in ALSO_NOUNS or words[1].lower() in ("a", "an", "the", "every", "each", "its")
    ):
        return f"{name}: a verb where a noun phrase belongs: {line}"
    if words[0] in NOT_A_NOUN_PHRASE and not (words[0] == "Whether" and not isinstance(node, ast.ClassDef)):
        return f"{name}: no noun phrase: {line}"
    return None if line[:1].isupper() or not line[:1].isalpha() else f"{name}: lower case: {line}"


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list)


def _documented(tree: ast.AST) -> Iterator[ast.AST]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def _docstring(node: ast.AST) -> ast.Constant | None:
    """Return the docstring of a module, class or function, as the node of its string."""
    match getattr(node, "body", None):
        case [ast.Expr(value=ast.Constant(value=str()) as constant), *_]:
            return constant
        case _:
            return None


#: The dialects that are not `got`: `, found 3`, and words without information.
_OTHER_VERB = re.compile(r"[,;:(] ?found(?= |$)|\bfound \{\}")
_VAGUE = re.compile(r"\b(mend|mends|mended|told|asked)\b", re.IGNORECASE)
_GOT = re.compile(r"[,;:(] ?got(?= |$)|\bgot \{\}")


def measure_messages(checkout: Checkout) -> Figure:
    """Count the messages that say `, found X` or `mend`, `told`, `asked`: the one dialect is `..., got X`.

    A message is a string of more than one word that isn't a docstring.
    """
    offenders, kinds = list[str](), Counter[str]()
    for source in checkout.sources:
        for text, line in messages(source.tree):
            kinds["got"] += bool(_GOT.search(text))
            for kind, pattern in (("found", _OTHER_VERB), ("vague", _VAGUE)):
                if pattern.search(text):
                    kinds[kind] += 1
                    offenders.append(f"{source.path}:{line}: {kind}: {' '.join(text.split())[:100]}")
    count = kinds["found"] + kinds["vague"]
    by_kind = f"got {kinds['got']}, found {kinds['found']}, mend/told/asked {kinds['vague']}"
    title = f"messages in another dialect than `got` ({by_kind})"
    return Figure("messages", title, count, "0", not count, tuple(offenders))


def messages(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield text and line of every string of several words, docstrings aside; a value of an f-string is `{}`."""
    skipped = {id(docstring) for node in _documented(tree) if (docstring := _docstring(node))}
    for node in ast.walk(tree):
        text = None
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
            skipped |= {id(value) for value in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
        if text and " " in text.strip():
            yield text, node.lineno
