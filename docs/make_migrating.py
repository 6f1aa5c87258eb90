"""Write the tables of docs/guides/migrating.md from the rows of benchmarks/_peers: `python docs/make_migrating.py`.

A row that maskwork cannot say is left out. tests/benchmarks/test_peers.py checks each row and the page.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "guides" / "migrating.md"
START, END = "<!-- rows: python docs/make_migrating.py -->", "<!-- end of the rows -->"

sys.path.insert(0, str(DOCS.parent / "benchmarks"))

from _peers import Peer, Row, lacking, peers  # noqa: E402  # the folder is no package that could be installed


def table(peer: Peer) -> str:
    """Return the rows of a library as a Markdown table, empty where none is shown."""
    rows = [row for row in peer.rows if row.shown and not lacking(row, next(row.cases()))]
    if not rows:
        return ""
    lines = [f"### {peer.title}", "", "| theirs | here | remark | test |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(line, rows), ""])


def line(row: Row) -> str:
    """Return one line of the table."""
    cells = (row.call, f"`{row.ours}`", row.note, f"`{row.name}`")
    # A bar inside a cell would end the cell, in code too.
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def write(page: str) -> str:
    """Return the page with today's tables."""
    before, rest = page.split(START)
    after = rest.split(END)[1]
    tables = "\n".join(filter(None, map(table, peers())))
    return f"{before}{START}\n\n{tables}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(write(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
