"""A mask as an SVG picture: exact at any length, patterns as well as colours."""

from __future__ import annotations

from html import escape

from ...spans import Spans
from .._grid import Grid
from .picture import Picture, caption, cut, picture

_MOST = 96  # most tiles on a side
_DIGIT = 7.2  # pixels for one digit of a label
_RIGHT = 20.0  # margin beyond the last key, for the label of that key
_INK, _LINE = "#1f2933", "#52606d"

# By `Picture.levels`, 0 is white: the name and fill of a pattern, and the marks that tell levels apart without colour.
_PAINT = {
    1: ("u", "#fdf0d5", '<circle cx="3" cy="3" r=".8" fill="#7a4a00"/>'),
    2: ("v", "#f2b950", '<path d="M0 6L6 0M-1 1L1 -1M5 7L7 5" stroke="#5c3a00" stroke-width=".9"/>'),
    3: ("w", "#c9772b", '<path d="M0 3H6M3 0V6" stroke="#3d1f00" stroke-width="1.2"/>'),
}
_FULL = "#1d4e89"


def draw_svg(text: str, spans: Spans, grid: Grid, b: int = 0, h: int = 0, size: int = 384, labels: bool = True) -> str:
    """Draw one batch row and head: dark tiles are fully allowed, patterned tiles in part, white tiles not at all.

    Styles are attributes, never classes, so that the drawing and a notebook's page do not change each other.

    Args:
        text: the mask, for the title.
        spans: the mask's geometry.
        grid: the mask's grid.
        b: batch row.
        h: head.
        size: pixels of the longer side, without labels.
        labels: whether to write title, positions and legend.
    """
    # +------------- width ------------+
    # | text, caption                  |
    # |        keys → 0    16    32    |  top
    # | queries +-- wide --+           |
    # |    left |          | high      |
    # |         +----------+     right |
    # | legend                         |  bottom
    # +--------------------------------+
    tiles = picture(spans.plane(b, h), grid, _MOST, _MOST)
    wide, high = _sides(grid, size)
    left = top = right = bottom = 1.0
    if labels:
        # The rotated caption, and room for the longest query position.
        left, right, top = (
            34 + _DIGIT * max(len(str(position)) for position in (grid.q_first, grid.q_end - 1, 0)),
            _RIGHT,
            78.0,
        )
        bottom = 44.0 if tiles.exact else 60.0
    width, height = max(left + wide + right, 470.0 if labels else 0), top + high + bottom
    count = caption(spans, grid, b, h)
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" role="img">',
        f"<title>{escape(f'{cut(text, 100)}: {count}')}</title>",
        *_patterns(tiles),
        f'<path fill="#fff" d="M0 0H{_n(width)}V{_n(height)}H0z"/>',
    ]
    if grid.q_len and grid.kv_len:
        body.append(f'<g transform="translate({_n(left)} {_n(top)})">')
        body += [*_tiles(tiles, wide, high), *_lines(tiles, wide, high), "</g>"]
    body.append(
        f'<path fill="none" stroke="{_LINE}" d="M{_n(left)} {_n(top)}h{_n(wide)}v{_n(high)}h{_n(-wide)}z"/>',
    )
    if labels:
        body.append(f'<g font-family="system-ui,sans-serif" font-size="12" fill="{_INK}">')
        body.append(f'<text x="10" y="20" font-weight="bold">{escape(cut(text, int(width / 7.6)))}</text>')
        body.append(f'<text x="10" y="37">{escape(cut(count, int(width / 6.2)))}</text>')
        if grid.q_len and grid.kv_len:
            body += [*_axes(tiles, left, top, wide, high), *_legend(tiles, top + high + 32)]
        body.append("</g>")
    return "\n".join([*body, "</svg>\n"])


def _sides(grid: Grid, size: int) -> tuple[float, float]:
    """Return width and height in the grid's proportions; each is at least size / 8, and a cell at most size / 4."""
    q, k = max(grid.q_len, 1), max(grid.kv_len, 1)
    longest = max(q, k)
    size = min(size, longest * size // 4)
    return max(size * k / longest, size / 8), max(size * q / longest, size / 8)


def _patterns(tiles: Picture) -> list[str]:
    used = set(tiles.levels().ravel().tolist()) & set(_PAINT)
    if not used:
        return []
    return [
        "<defs>",
        *(
            f'<pattern id="mw-{name}" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<path fill="{fill}" d="M0 0H6V6H0z"/>{marks}</pattern>'
            for level, (name, fill, marks) in _PAINT.items()
            if level in used
        ),
        "</defs>",
    ]


def _paint(level: int) -> str:
    return f'fill="{_FULL}"' if level == 4 else f'fill="url(#mw-{_PAINT[level][0]})"' if level else 'fill="#fff"'


def _tiles(tiles: Picture, wide: float, high: float) -> list[str]:
    """Draw one path per level. Equal neighbours in a row, and equal rows, are one rectangle: the file stays small."""
    levels = tiles.levels().tolist()
    tall, broad = high / len(levels), wide / len(levels[0])
    paths: dict[int, list[str]] = {}
    i = 0
    while i < len(levels):
        end = i + 1
        while end < len(levels) and levels[end] == levels[i]:
            end += 1
        row, start = levels[i], 0
        for j in range(1, len(row) + 1):
            if j < len(row) and row[j] == row[start]:
                continue
            if row[start]:
                corner = f"M{_n(start * broad)} {_n(i * tall)}"
                paths.setdefault(row[start], []).append(
                    f"{corner}H{_n(j * broad)}V{_n(end * tall)}H{_n(start * broad)}z"
                )
            start = j
        i = end
    return [f'<path {_paint(level)} d="{"".join(paths[level])}"/>' for level in sorted(paths)]


def _lines(tiles: Picture, wide: float, high: float) -> list[str]:
    """Draw thin lines between the cells of a small grid."""
    rows, columns = tiles.allowed.shape
    if not tiles.exact or max(rows, columns) > 32:
        return []
    across = "".join(f"M0 {_n(i * high / rows)}H{_n(wide)}" for i in range(1, rows))
    down = "".join(f"M{_n(j * wide / columns)} 0V{_n(high)}" for j in range(1, columns))
    return [f'<path fill="none" stroke="#c3ccd5" stroke-width=".6" d="{across}{down}"/>'] if across + down else []


def _axes(tiles: Picture, left: float, top: float, wide: float, high: float) -> list[str]:
    """Label round positions, as many as fit without touching: at most eight per side."""
    out = [
        f'<text x="{_n(left)}" y="{_n(top - 24)}">keys →</text>',
        f'<text transform="translate(18 {_n(top)}) rotate(-90)" text-anchor="end">← queries</text>',
    ]
    for edges, side, across in ((tiles.k_edges.tolist(), wide, True), (tiles.q_edges.tolist(), high, False)):
        low, high = int(edges[0]), int(edges[-1])
        need = _DIGIT * len(str(high)) + 8 if across else 16.0
        step = _round_step((high - low) / max(1, min(8, int(side / need))))
        for position in range(-(-low // step) * step, high, step) or [low]:
            offset = (position - low + (0.5 if tiles.exact else 0)) * side / (high - low)
            if across and offset + _DIGIT * len(str(position)) / 2 > side + _RIGHT:
                continue
            if across:
                out.append(f'<text x="{_n(left + offset)}" y="{_n(top - 7)}" text-anchor="middle">{position}</text>')
            else:
                out.append(f'<text x="{_n(left - 6)}" y="{_n(top + offset + 4)}" text-anchor="end">{position}</text>')
    return out


def _round_step(least: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50, … that is at least `least`."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least:
                return digit * power
        power *= 10


def _legend(tiles: Picture, y: float) -> list[str]:
    entries = {4: "may attend", 0: "may not"}
    if not tiles.exact:
        used = set(tiles.levels().ravel().tolist())
        names = {4: "all pairs", 3: "over 2/3", 2: "to 2/3", 1: "to 1/3", 0: "none"}
        entries = {level: name for level, name in names.items() if level in used | {0, 4}}
    out: list[str] = []
    x = 10.0
    for level, name in entries.items():
        out.append(f'<rect {_paint(level)} stroke="{_LINE}" x="{_n(x)}" y="{_n(y - 11)}" width="14" height="14"/>')
        out.append(f'<text x="{_n(x + 20)}" y="{_n(y)}">{name}</text>')
        x += 36 + 7 * len(name)
    if not tiles.exact:
        q, k = tiles.largest
        out.append(f'<text x="10" y="{_n(y + 17)}">a tile: up to {q:,} x {k:,} pairs (queries x keys)</text>')
    return out


def _n(value: float) -> str:
    """Format a number with at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
