"""The gallery holds every atom, every operator and every recipe, and each of its masks binds at its length."""

from __future__ import annotations

from typing import Any

import pytest

import maskwork as mw
from maskwork.errors import CannotExpress
from maskwork.explorer._answers.gallery import PATTERNS, GalleryEntry, gallery
from maskwork.explorer._answers.mask import ANSWERS
from maskwork.masks._text.registry import MAKERS, OPERATORS

#: How each recipe is shown; a new recipe is missing here until it is in the gallery.
RECIPES = {
    "gpt": mw.recipes.gpt(),
    "mistral": mw.recipes.mistral(8),
    "streaming_llm": mw.recipes.streaming_llm(8, 2),
    "prefix_lm": mw.recipes.prefix_lm(10),
    "longformer": mw.recipes.longformer(8, [0, 16]),
    "bigbird": mw.recipes.bigbird(4, 8, 2),
    "packed": mw.recipes.packed([9, 14, 9]),
    "chunked_local": mw.recipes.chunked_local(8),
    "multimodal": mw.recipes.multimodal([-1] * 5 + [0] * 8 + [-1] * 5 + [1] * 8 + [-1] * 2),
    "shared_prefix": mw.recipes.shared_prefix(8, [12, 12]),
    "next_scale": mw.recipes.next_scale([1, 4, 9, 16]),
    "block_diffusion": mw.recipes.block_diffusion(16, 4),
    "streaming": mw.recipes.streaming(4, 2),
    "gist": mw.recipes.gist(8, 3),
    "time_window": mw.recipes.time_window([0, 1, 5, 6, 6, 9, 10, 11, 18, 19, 19, 20], 4),
    "flamingo": mw.recipes.flamingo([-1, -1, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]),
    "sliding_tile": mw.recipes.sliding_tile((8, 8), (4, 4), (2, 2)),
}

#: Other spellings of an atom that is there: their text is that atom's.
SPELLINGS = {"from_cu_seqlens": "document", "from_key_padding_mask": "real"}


def names(mask: mw.Mask) -> set[str]:
    """The makers and operators that a mask is written with."""
    spec = mask._spec()
    found = {spec.name}
    values: list[Any] = [*spec.args, *spec.keywords.values()]
    while values:
        value = values.pop()
        if isinstance(value, mw.Mask):
            found |= names(value)
        elif isinstance(value, tuple):
            values.extend(value)
    return found


def test_every_atom_and_operator_is_shown():
    shown = set().union(*(names(mw.parse(pattern.mask)) for pattern in PATTERNS))
    assert set(MAKERS) - set(SPELLINGS) <= shown
    assert set(OPERATORS) <= shown
    assert names(mw.from_cu_seqlens([0, 2])) == {"document"}
    assert names(mw.from_key_padding_mask([[False, True]])) == {"real"}


@pytest.mark.parametrize("name", mw.recipes.__all__)
def test_every_recipe_is_shown_as_it_is(name: str):
    assert RECIPES[name] in [mw.parse(pattern.mask) for pattern in PATTERNS]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_a_pattern_can_be_loaded(pattern: GalleryEntry):
    found = ANSWERS["describe"]({"mask": pattern.mask, "length": str(pattern.length)})
    assert isinstance(found, dict)
    assert found["allowed"] == mw.parse(pattern.mask).bind(pattern.length).allowed
    assert pattern.name
    assert pattern.used


def test_the_page_gets_all_of_them():
    assert [entry["mask"] for entry in gallery()] == [pattern.mask for pattern in PATTERNS]
    assert len({pattern.name for pattern in PATTERNS}) == len(PATTERNS)
    assert ANSWERS["patterns"]({}) == {"patterns": gallery()}


def test_code_whose_tables_would_be_too_long_is_refused():
    parameters = {"mask": "causal & dilated(9, 2)", "length": "1000000", "to": "flex"}
    assert isinstance(ANSWERS["code"](parameters), dict)  # a formula needs no table
    with pytest.raises(CannotExpress, match="at most 4096 numbers per table"):
        ANSWERS["code"](parameters | {"mask": "random_blocks(2, 1000, 1000, 0)"})
