"""A mask as an SVG picture: exact at any length, patterns as well as colours."""

from __future__ import annotations

from html import escape

from ._bound import BoundMask
from ._picture import Picture, picture, title

_SIZE = 384  # side of the drawing, in pixels
_MOST = 96  # most tiles a side
_LEFT, _TOP, _BOTTOM = 64, 78, 56

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933}.full{fill:#1d4e89}.part{fill:#f2a541}"
    ".frame{fill:#fff;stroke:#52606d}.grid{stroke:#d5dbe1;stroke-width:.5}"
)


def draw_svg(bound: BoundMask) -> str:
    """Batch row 0, head 0: dark tiles are allowed whole, dotted light tiles in part, white ones not at all."""
    grid = bound.grid
    tiles = picture(bound, _MOST, _MOST)
    width, height = _LEFT + _SIZE + 24, _TOP + _SIZE + _BOTTOM
    label = ": ".join(title(bound, 100))
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(label, quote=True)}">',
        f"<title>{escape(label)}</title><style>{_STYLE}</style>",
        # dots carry the meaning where there is no colour
        '<defs><pattern id="part" width="4" height="4" patternUnits="userSpaceOnUse"><rect width="4" height="4" '
        'class="part"/><circle cx="2" cy="2" r="1" fill="#5c3a00"/></pattern></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_heading(bound),
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIZE}" height="{_SIZE}"/>',
    ]
    if grid.q_len and grid.kv_len:
        body += [*_tiles(tiles), *_axes(tiles), *_legend(tiles)]
    return "\n".join([*body, "</svg>\n"])


def _heading(bound: BoundMask) -> list[str]:
    text = repr(bound.mask)
    text = text if len(text) <= 58 else text[:57] + "…"
    count = f"{bound.allowed:,} pairs allowed, density {bound.density:.2%}"
    if bound.shape[:2] != (1, 1):
        count += f", batch row 0 of {bound.shape[0]}"
    return [
        f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(text)}</text>',
        f'<text x="{_LEFT}" y="37">{count}</text>',
    ]


def _tiles(tiles: Picture) -> list[str]:
    """Neighbouring tiles of one kind in a row are one rectangle, so the file stays small."""
    high, wide = _SIZE / len(tiles.allowed), _SIZE / tiles.allowed.shape[1]
    out: list[str] = []
    for i, (allowed_row, cells_row) in enumerate(zip(tiles.allowed.tolist(), tiles.cells.tolist(), strict=True)):
        kinds = [0 if a == 0 else 2 if a == c else 1 for a, c in zip(allowed_row, cells_row, strict=True)]
        start = 0
        for j in range(1, len(kinds) + 1):
            if j < len(kinds) and kinds[j] == kinds[start]:
                continue
            if kinds[start]:
                paint = 'class="full"' if kinds[start] == 2 else 'fill="url(#part)"'
                out.append(
                    f'<rect {paint} x="{_LEFT + start * wide:.2f}" y="{_TOP + i * high:.2f}" '
                    f'width="{(j - start) * wide:.2f}" height="{high:.2f}"/>'
                )
            start = j
    if len(tiles.allowed) <= 32 and tiles.allowed.shape[1] <= 32:
        for i in range(1, len(tiles.allowed)):
            y = _TOP + i * high
            out.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.2f}" x2="{_LEFT + _SIZE}" y2="{y:.2f}"/>')
        for j in range(1, tiles.allowed.shape[1]):
            x = _LEFT + j * wide
            out.append(f'<line class="grid" x1="{x:.2f}" y1="{_TOP}" x2="{x:.2f}" y2="{_TOP + _SIZE}"/>')
    return out


def _axes(tiles: Picture) -> list[str]:
    """Positions at the tiles' edges, at most eight a side, so that labels never touch."""
    out = [
        f'<text x="{_LEFT + _SIZE}" y="{_TOP - 23}" text-anchor="end">key position →</text>',
        f'<text transform="translate(14 {_TOP + _SIZE}) rotate(-90)">← query position</text>',
    ]
    for edges, across in ((tiles.k_edges.tolist(), True), (tiles.q_edges.tolist(), False)):
        count = len(edges) - 1
        step = -(-count // 8)
        for i in range(0, count, step):
            at = (i + (0.5 if tiles.exact else 0)) * _SIZE / count
            if across:
                out.append(f'<text x="{_LEFT + at:.2f}" y="{_TOP - 7}" text-anchor="middle">{edges[i]}</text>')
            else:
                out.append(f'<text x="{_LEFT - 6}" y="{_TOP + at + 4:.2f}" text-anchor="end">{edges[i]}</text>')
    return out


def _legend(tiles: Picture) -> list[str]:
    y = _TOP + _SIZE + 28
    entries = [('class="full"', "may attend"), ('fill="#fff" stroke="#52606d"', "may not")]
    if not tiles.exact:
        entries = [
            ('class="full"', "all may attend"),
            ('fill="url(#part)"', "some"),
            ('fill="#fff" stroke="#52606d"', "none"),
        ]
    out: list[str] = []
    x = float(_LEFT)
    for paint, label in entries:
        out.append(f'<rect {paint} x="{x}" y="{y - 11}" width="14" height="14"/>')
        out.append(f'<text x="{x + 20}" y="{y}">{label}</text>')
        x += 40 + 7 * len(label)
    return out
