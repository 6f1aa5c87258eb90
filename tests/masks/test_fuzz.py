"""Hostile text: only `ParseError` ever comes out of `parse`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import Case, cases
from maskwork.errors import ParseError

WORDS = [
    "causal", "full", "empty", "band(", "sinks(", "prefix(", "padding(", "real(", "document(", "within(", "match(",
    "chunked(", "block_causal(", "per_head([", "per_row([", "sliding_window(", "from_cu_seqlens(", "shift", ".shift(",
    "q=", "k=", "lengths=", "ids=", "starts=", "None", "(", ")", "[", "]", ",", "=", ".", "~", "-", "&", "^", "|",
    "0", "1", "2", "-1", "999999999999999999", "$", "é", " ",
]  # fmt: skip


def parses_or_says_why(text: str) -> None:
    try:
        mask = mw.parse(text)
    except ParseError as error:
        assert "^" in str(error)  # noqa: PT017
    else:
        assert "<" in repr(mask) or mw.parse(repr(mask)) == mask


@settings(max_examples=300)
@given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=14).map("".join))
def test_random_text(text: str):
    parses_or_says_why(text)


@settings(max_examples=300)
@given(cases, st.integers(0, 10**6), st.integers(0, 3), st.sampled_from(WORDS))
def test_valid_text_with_one_change(case: Case, place: int, cut: int, word: str):
    text = repr(case.mask)
    at = place % (len(text) + 1)
    parses_or_says_why(text[:at] + word + text[at + cut :])


@pytest.mark.parametrize(
    "text",
    [
        "causal" + ".shift(q=-1).shift(q=1)" * 4000, "~" * 99_000, "(" * 99_000, "causal ^ " * 11_000 + "causal",
        "per_head([" * 9000, "[" * 1000, "within(3, [1])", "causal.shift(1, 2, 3)", "causal.bind(q=1)", "shift(causal)",
        "causal.", "None", "~None", "prefix(None)", "per_head(None)", "band(None)", "causal ^", "within([], [])",
        "document([999999999999999999, 999999999999999999])", "match([[0]], [[1], [2]])", "real([2])", "1.shift(q=1)",
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_hostile_text(text: str):
    parses_or_says_why(text)


def test_binding_strength_of_xor_and_shift():
    a, b, c = mw.causal(), mw.sinks(2), mw.prefix(3)
    assert mw.parse("causal | sinks(2) ^ prefix(3)") == a | (b ^ c)
    assert mw.parse("causal ^ sinks(2) & prefix(3)") == a ^ (b & c)
    assert mw.parse("~causal.shift(q=1, k=0)") == ~(a.shift(q=1))
    assert mw.parse("(causal | sinks(2)).shift(1, k=-2)") == (a | b).shift(1, -2)
    assert mw.parse("per_head([causal, full]) & band(None, 3)") == mw.per_head([a, mw.full()]) & mw.band(None, 3)
