"""Text: Python's order of binding, errors with a caret; hostile text ends in `ParseError`."""

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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k <= q", "got '<'"),
        ("!causal", "write ~ for not"),
        ("(causal and full)", "join masks with &"),
        ("(causal or full)", r"join masks with \|"),
        ("sliding_window(8.5)", "numbers are whole"),
        ("causal & (full | empty", r"'\(' at column 10 is not"),
        ("document([3, 4", r"'\[' at column 10 is not"),
        ("within(causal, <int64[40] abc>)", "or to_json"),
        ("causal & " * 20 + "zzz & " + "causal & " * 20 + "full", "…sal & .* & zzz & causal & causa…"),
    ],
)
def test_a_text_that_is_no_mask_says_what_to_write(text: str, said: str):
    with pytest.raises(ParseError, match=said) as raised:
        mw.parse(text)
    _, shown, caret = str(raised.value).split("\n")
    # the caret is under the very place, also where the line is a part of the text
    assert caret.index("^") <= len(shown)
    if "zzz" in text:
        assert shown[caret.index("^") :].startswith("zzz")


@pytest.mark.parametrize(
    "text",
    ["", "causal &", "(causal", "causal)", "causal()()", "sinks(1, 2)", "sinks()", "sinks(n=1, n=2)", "sinks(x=1)",
     "sinks(-1)", "sliding_window('8')", "causal & $", "__import__('os')", "causal.bind(3)", "sinks(1e9)",
     "sinks(" + "9" * 40 + ")", "~" * 1000 + "causal", "(" * 1000 + "causal" + ")" * 1000, "document([1, 2)",
     "within(causal)", "causal and full", "lambda: 0", "causal;full", "ｃausal", "sinks(٣)", "document(" + "[" * 200,
     "causal\ud800"],
)  # fmt: skip
def test_bad_text_is_a_parse_error_with_a_caret(text: str):
    with pytest.raises(ParseError) as error:
        mw.parse(text)
    *_, shown, caret = str(error.value).splitlines()
    assert caret.strip() == "^"
    assert caret.index("^") <= len(shown)
    str(error.value).encode()


def test_a_long_text_costs_its_length_not_its_square():
    text = " | ".join(f"sinks({i})" for i in range(6000))
    mask = mw.parse(text)
    assert mw.parse(repr(mask)) == mask
    with pytest.raises(ParseError, match="100000 characters"):
        mw.parse(text + " " * 100_000)


def test_binding_strength_is_pythons():
    a, b, c = mw.causal(), mw.sinks(2), mw.prefix(3)
    assert mw.parse("causal | sinks(2) & prefix(3)") == a | (b & c)
    assert mw.parse("causal & sinks(2) - prefix(3)") == a & (b - c)
    assert mw.parse("~causal & sinks(2)") == ~a & b
    assert mw.parse("causal - sinks(2) - prefix(3)") == (a - b) - c
    for mask in (mw.sliding_window(2**62), a.shift(q=2**31 - 1, k=-(2**31) + 1), mw.document(ids=[-(2**62)])):
        assert mw.parse(repr(mask)) == mask
    assert mw.parse("within([causal, full], lengths=[2, 3])") == mw.within([a, mw.full()], [2, 3])
