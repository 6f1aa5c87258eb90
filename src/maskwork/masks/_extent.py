"""`Extent`: how far a grid reaches, which the array parameters of a mask must cover."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import GridError
from ._arrays import Ints


@dataclass(frozen=True)
class Extent:
    """How far a grid reaches, which array parameters must cover."""

    queries: int  #: one past the last query position
    keys: int
    whole: bool  #: the grid is the whole sequence, so that an array must also end where it ends

    @property
    def positions(self) -> int:
        """What a parameter covers that speaks of queries and keys alike."""
        return max(self.queries, self.keys)


def check_cover(
    mask: object,
    what: str,
    covered: Ints,
    extent: Extent,
    need: int | None = None,
    mend: str = "lengthen them, or give the padding a document of its own",
) -> None:
    """An array parameter covers every position of the grid (or `need` of them), and of a whole sequence no more."""
    need = extent.positions if need is None else need
    short, most = int(covered.min(initial=need)), int(covered.max(initial=0))
    if short < need:
        raise GridError(
            f"the {what} at least the grid's {need} positions, or cells would be undefined; those of {mask!r} reach "
            f"{short}; {mend}"
        )
    if extent.whole and most > need:
        raise GridError(
            f"the {what} exactly the grid's {need} positions; those of {mask!r} reach {most}; shorten them, or bind a "
            "part of a longer sequence by giving q_start"
        )
