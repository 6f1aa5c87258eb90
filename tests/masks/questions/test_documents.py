"""Which document each position is in: as the mask's own terms say, and None where it has none."""

from __future__ import annotations

import pytest

import maskwork as mw
from maskwork.explorer._answers.mask import ANSWERS
from maskwork.masks._questions.documents import documents


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("within(causal, [2, 4])", [0, 0, 1, 1, 1, 1]),
        ("causal & (prefix(1) | document([1, 2, 3]))", [0, 1, 1, 2, 2, 2]),
        ("document([0, 2, 0, 4])", [1, 1, 3, 3, 3, 3]),
        ("document(ids=[4, 4, -1, 0, 0, 4])", [4, 4, -1, 0, 0, 4]),
        ("causal & chunked(3)", None),
        ("causal - document([3, 3])", None),
    ],
)
def test_documents_are_those_of_the_mask(text: str, numbers: list[int] | None) -> None:
    assert documents(mw.parse(text), 6) == numbers
    assert ANSWERS["cells"]({"mask": text, "length": "6"})["documents"] == numbers


def test_rows_of_the_batch_have_their_own_documents() -> None:
    mask = mw.causal() & mw.document([[1, 3], [2, 2]])
    assert [documents(mask, 4, b) for b in (0, 1)] == [[0, 1, 1, 1], [0, 0, 1, 1]]
