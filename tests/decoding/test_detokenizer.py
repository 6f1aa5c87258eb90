"""Text streams out exactly as the whole would decode, and never half a character."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskwork.decoding._detokenizer import StreamingDetokenizer


def stream(pieces: list[bytes]) -> tuple[list[str], str]:
    detokenizer = StreamingDetokenizer(pieces.__getitem__)
    return [detokenizer.push(index) for index in range(len(pieces))], detokenizer.finish()


# Bytes that meet at every odd corner of UTF-8: leads, continuations, overlong and surrogate forms.
odd_bytes = st.lists(
    st.sampled_from(
        [
            b"a",
            b"\x80",
            b"\xbf",
            b"\xc0",
            b"\xc3",
            b"\xe0",
            b"\xa0",
            b"\xed",
            b"\xf0\x9f",
            b"\xf4\x90",
            b"\xff",
        ]
    )
).map(b"".join)


@given(data=st.one_of(st.binary(), odd_bytes, st.text().map(str.encode)), cuts=st.lists(st.integers(0, 60)))
@example(data=b"\xf0\x9f\x98\x80", cuts=[1, 2, 3])
@example(data=b"\xe2\x82", cuts=[1])
@example(data=b"\xf0\x9fab", cuts=[2, 3])
def test_the_joined_stream_is_the_whole_decoded(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in pairwise(edges)]
    pushed, rest = stream(pieces)
    assert "".join(pushed) + rest == data.decode("utf-8", errors="replace")


@given(st.text(), st.integers(1, 3))
def test_valid_text_never_shows_a_replacement_and_finishes_empty(text: str, size: int) -> None:
    data = text.encode()
    pushed, rest = stream([data[i : i + size] for i in range(0, len(data), size)])
    assert rest == ""
    assert "".join(pushed) == text


def test_a_character_appears_with_its_last_byte() -> None:
    assert stream([b"\xf0", b"\x9f", b"\x98", b"\x80!"]) == (["", "", "", "😀!"], "")
    assert stream([b"a\xe2", b"\x82"]) == (["a", ""], "\ufffd")
    assert stream([b"\xe2", b"z"]) == (["", "\ufffdz"], "")
    assert stream([b"", b"a", b""]) == (["", "a", ""], "")


def test_after_finish_it_starts_anew() -> None:
    detokenizer = StreamingDetokenizer([b"\xc3", b"\xa9"].__getitem__)
    assert detokenizer.finish() == ""
    assert (detokenizer.push(0), detokenizer.finish()) == ("", "\ufffd")
    assert (detokenizer.push(0), detokenizer.push(1), detokenizer.finish()) == ("", "é", "")


def test_two_streams_do_not_mix() -> None:
    pieces = [b"\xc3", b"\xa9"]
    first, second = (StreamingDetokenizer(pieces.__getitem__) for _ in range(2))
    assert (first.push(0), second.push(1), first.push(1)) == ("", "\ufffd", "é")


def test_an_unknown_token_raises_what_the_vocabulary_raises_and_keeps_the_stream() -> None:
    detokenizer = StreamingDetokenizer({1: b"\xc3", 2: b"\xa9"}.__getitem__)
    detokenizer.push(1)
    with pytest.raises(KeyError):
        detokenizer.push(3)
    assert detokenizer.push(2) == "é"
