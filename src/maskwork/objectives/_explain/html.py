"""A batch's explanation as HTML: tokens as cards in reading order, with the table of every value below."""

from __future__ import annotations

from html import escape
from itertools import groupby

from .rows import ExplainedRow, ExplainedToken, ExplanationValues
from .text import title, warning_lines

#: Scored: a solid frame, a thick underline and bold type. Context: no frame. Padding: dots. Colour only repeats that.
_STYLE = """
.mw-explain{background:#fff;color:#1b1f24;font:14px/1.4 system-ui,sans-serif;padding:12px;max-width:75em}
.mw-explain h3{font-size:15px;margin:18px 0 6px}
.mw-explain .mw-text{display:flex;flex-wrap:wrap;gap:5px;align-items:stretch}
.mw-explain .mw-t{border:1px solid transparent;border-radius:4px;padding:2px 5px;text-align:center;max-width:100%;
 overflow-wrap:anywhere;unicode-bidi:isolate}
.mw-explain .mw-t code,.mw-explain td code{font:13px/1.4 ui-monospace,"DejaVu Sans Mono",monospace;color:inherit;
 background:none;padding:0}
.mw-explain .mw-t small{display:block;font-size:11px;color:#57606a;min-height:1.4em}
.mw-explain .mw-s{background:#dff3e4;border:1px solid #1a7f37;border-bottom-width:4px}
.mw-explain .mw-s code{font-weight:700}
.mw-explain .mw-s small{color:#0f5323}
.mw-explain .mw-p{border:1px dotted #8c959f;color:#57606a}
.mw-explain .mw-d{border-left:3px solid #1b1f24;padding-left:6px;font-size:11px;align-self:center}
.mw-explain .mw-w{border-left:5px solid #cf222e;background:#ffebe9;color:#82071e;padding:4px 8px;margin:4px 0;
 font-weight:700}
.mw-explain table{border-collapse:collapse;margin:6px 0;color:inherit}
.mw-explain th,.mw-explain td{border-bottom:1px solid #d0d7de;padding:2px 10px;text-align:left;background:none;
 white-space:nowrap}
.mw-explain td code{white-space:normal;overflow-wrap:anywhere}
.mw-explain tr.mw-y td{background:#dff3e4;font-weight:700}
.mw-explain .mw-n{text-align:right}
"""


def page(explanation: ExplanationValues) -> str:
    """Return a complete HTML document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What is scored</title></head>'
        f"<body>{fragment(explanation)}</body></html>\n"
    )


def fragment(explanation: ExplanationValues) -> str:
    """Return one div with its style, for a notebook."""
    parts = [f'<div class="mw-explain"><style>{_STYLE}</style>']
    parts.append(f"<h3>{title(explanation)}</h3>")
    parts += [f'<p class="mw-w">{escape(line)}</p>' for line in warning_lines(explanation)]
    parts.append(
        "<p>Where a token is framed and underlined, the model's output is scored: its target stands below, and its "
        "weight where it is not 1. Dots frame padding. ␣ is a space, ↵ a newline, ⇥ a tab.</p>"
    )
    parts += [_row(row, explanation.has_text) for row in explanation.rows]
    parts.append(_reasons(explanation))
    return "".join(parts) + "</div>"


def _row(row: ExplainedRow, has_text: bool) -> str:
    """Return a row as cards in reading order, and the table of its values folded away below."""
    cards: list[str] = []
    for document, tokens in groupby(row.tokens, key=lambda token: token.document):
        cards.append(f'<span class="mw-d">{"padding" if document < 0 else f"document {document}"}</span>')
        cards += [_card(token, has_text) for token in tokens]
    lines = "".join(_line(token, has_text) for token in row.tokens)
    text = "<th>token</th>" * has_text
    target = "<th>target</th>" * has_text
    head = f"<tr><th>#</th><th>doc</th><th>pos</th>{text}<th>id</th><th>scored</th>{target}<th>target id</th>"
    return (
        f'<h3>{escape(row.title)}</h3><div class="mw-text">{"".join(cards)}</div>'
        f"<details><summary>every value of row {row.row} {row.side}</summary>"
        f"<table>{head}<th>weight</th><th>reason</th></tr>{lines}</table></details>"
    )


def _card(token: ExplainedToken, has_text: bool) -> str:
    # mw-s: scored, mw-p: padding
    kind = "mw-s" if token.scored else "mw-p" if token.document < 0 else ""
    below = ""
    if token.scored:
        weight = "" if token.weight == 1 else f" ×{token.weight:g}"
        below = f"→ {_target(token, has_text)}{weight}"
    title = f"position {token.index}: {token.reason}, target {token.target}, weight {token.weight:g}"
    return (
        f'<span class="mw-t {kind}" title="{escape(title)}"><code>{_code(token, has_text)}</code>'
        f"<small>{below}</small></span>"
    )


def _line(token: ExplainedToken, has_text: bool) -> str:
    words = [token.text, token.target_text] if has_text else []
    numbers = [token.index, token.document, token.position]
    cells = [f'<td class="mw-n">{number}</td>' for number in numbers]
    cells += [f"<td><code>{escape(word)}</code></td>" for word in words[:1]]
    cells += [f'<td class="mw-n">{token.id}</td>', f"<td>{'yes' if token.scored else 'no'}</td>"]
    cells += [f"<td><code>{escape(word)}</code></td>" for word in words[1:]]
    cells += [f'<td class="mw-n">{token.target}</td>', f'<td class="mw-n">{token.weight:g}</td>']
    # the columns of the table in `_row`: numbers, token, id, scored, target, target id, weight, reason
    return f'<tr class="{"mw-y" if token.scored else ""}">{"".join(cells)}<td>{token.reason}</td></tr>'


def _code(token: ExplainedToken, has_text: bool) -> str:
    return escape(token.text) if has_text else str(token.id)


def _target(token: ExplainedToken, has_text: bool) -> str:
    return f"<code>{escape(token.target_text)}</code>" if has_text else str(token.target)


def _reasons(explanation: ExplanationValues) -> str:
    lines = "".join(
        f'<tr><td class="mw-n">{count}</td><td>{reason}</td><td>{escape(explanation.legend[reason])}</td></tr>'
        for reason, count in explanation.reasons.items()
    )
    return f"<h3>Reasons</h3><table>{lines}</table>"
