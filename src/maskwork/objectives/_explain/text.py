"""A batch's explanation in a terminal: each row as running text and as a table, in colour and readable without.

    row 0: 2 of 3 tokens scored (66.7%), weight 2, 1 document, 1 padding
      ⟦The⟧ ⟦cat⟧ sat ‖ ▒×1

      #  doc  pos  token  id  target  id  weight  reason
      0    0    0  ⟦The⟧   1  cat      2       1  SCORED
      1    0    1  ⟦cat⟧   2  sat      3       1  SCORED

rich's own tables are not used: they take a minute for the 16,000 tokens of an ordinary batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.cells import cell_len

from ...data import IGNORED
from .rows import ExplainedRow, ExplainedToken, ExplanationValues

#: A line of pieces of text, each with the name of a style of rich.
Line = list[tuple[str, str]]

#: The most warnings printed before "and N more"; `to_json` has all.
MOST_WARNINGS = 20

_KEY = "⟦ ⟧ the output at this token is scored   ‖ between documents   ▒ padding   ␣ space   ↵ newline   ⇥ tab"
#: A longer token pushes its own line to the right; it is never cut.
_WIDEST = 24

_STYLES = {
    "SCORED": "bold green",
    "MASKED": "bold green",
    "RANDOM": "bold magenta",
    "KEPT": "bold cyan",
    "PADDING": "dim",
    "BAD_WEIGHT": "bold red",
    "CONTEXT": "blue",
    "READ": "blue",
    "POOLED": "bold green",
    "ROLE_NOT_TRAINED": "blue",
    "TEMPLATE": "yellow",
}
_OTHER_STYLE = "yellow"


def lines(explanation: ExplanationValues, width: int) -> Iterator[Line]:
    """Yield the lines from top to bottom; the warnings come last, where a terminal stops."""
    yield [(title(explanation), "bold")]
    for row in explanation.rows:
        yield []
        yield [(row.title, "bold")]
        yield from _running(row, explanation.has_text, width)
        yield []
        yield from _table(row, explanation.has_text)
    yield []
    yield [(_KEY, "dim")]
    yield from _reasons(explanation)
    yield from ([(text, "bold red")] for text in warning_lines(explanation))


def title(explanation: ExplanationValues) -> str:
    rows, warnings = len({row.row for row in explanation.rows}), len(explanation.warnings)
    alarm = f"; {warnings} WARNING{'S' * (warnings != 1)}" if warnings else ""
    return f"batch of {rows} row{'s' * (rows != 1)}: {explanation.summary}{alarm}"


def warning_lines(explanation: ExplanationValues) -> list[str]:
    """Return the first `MOST_WARNINGS` warnings, a line each, and the number of the rest."""
    first = [f"WARNING {warning.text}" for warning in explanation.warnings[:MOST_WARNINGS]]
    more = len(explanation.warnings) - MOST_WARNINGS
    return [*first, f"and {more} more warnings; to_json() has all"] if more > 0 else first


def _running(row: ExplainedRow, has_text: bool, width: int) -> Iterator[Line]:
    """Yield the tokens in reading order, broken between tokens to `width` columns."""
    line: Line = []
    used = 0
    for word, style in _words(row, has_text):
        size = cell_len(word) + 1  # columns and not characters: CJK characters take two
        if line and used + size > width - 2:
            yield line
            line, used = [], 0
        line += [(" " if line else "  ", ""), (word, style)]
        used += size
    yield line


def _words(row: ExplainedRow, has_text: bool) -> Iterator[tuple[str, str]]:
    """Yield each word of the running text with its style: tokens, ‖ between documents, and one word for padding."""
    for count, (document, group) in enumerate(groupby(row.tokens, key=lambda token: token.document)):
        tokens = list(group)
        if count:
            yield "‖", "bold"
        # padding is one word, unless some of it is scored: a mistake, which must be seen
        if document < 0 and not any(token.scored for token in tokens):
            yield f"▒×{len(tokens)}", "dim"
        else:
            yield from ((_marked(token, has_text), _style(token)) for token in tokens)


def _table(row: ExplainedRow, has_text: bool) -> Iterator[Line]:
    """Yield the table of a row: a line for each token, the columns as wide as their widest cell."""
    text = (
        [("token", "<"), ("id", ">"), ("target", "<"), ("id", ">")] if has_text else [("token", ">"), ("target", ">")]
    )
    columns = [("#", ">"), ("doc", ">"), ("pos", ">"), *text, ("weight", ">"), ("reason", "<")]
    table = [[name for name, _ in columns], *(_cells(token, has_text) for token in row.tokens)]
    widths = [min(_WIDEST, max(map(cell_len, column))) for column in zip(*table, strict=True)]
    styles = ["bold", *(_style(token) for token in row.tokens)]
    for cells, style in zip(table, styles, strict=True):
        padded = [_padded(cell, width, side) for cell, width, (_, side) in zip(cells, widths, columns, strict=True)]
        yield [("  ", ""), ("  ".join(padded[:3]), "dim"), ("  ", ""), ("  ".join(padded[3:]).rstrip(), style)]


def _cells(token: ExplainedToken, has_text: bool) -> list[str]:
    # – stands for "no target", ▒ for padding: no cell is empty
    target = "–" if token.target == IGNORED else str(token.target)
    document = "▒" if token.document < 0 else str(token.document)
    words = [str(token.id), token.target_text or "–", target] if has_text else [target]
    marked = _marked(token, has_text)
    return [str(token.index), document, str(token.position), marked, *words, f"{token.weight:g}", token.reason]


def _padded(text: str, width: int, side: str) -> str:
    room = " " * (width - cell_len(text))
    return text + room if side == "<" else room + text


def _reasons(explanation: ExplanationValues) -> Iterable[Line]:
    digits = len(str(max(explanation.reasons.values(), default=0)))
    longest = max(map(len, explanation.reasons), default=0)
    for reason, count in explanation.reasons.items():
        style = _STYLES.get(reason, _OTHER_STYLE)
        yield [(f"{count:>{digits}}  ", ""), (f"{reason:<{longest}}", style), (f"  {explanation.legend[reason]}", "")]


def _marked(token: ExplainedToken, has_text: bool) -> str:
    text = token.text if has_text else str(token.id)
    return f"⟦{text}⟧" if token.scored else text


def _style(token: ExplainedToken) -> str:
    return _STYLES.get(token.reason, _OTHER_STYLE)
