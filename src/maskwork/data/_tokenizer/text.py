"""What one token says, so that a reader sees all of it: spaces, line ends, control characters, broken UTF-8.

`visible` is injective: two texts that differ are shown differently, since every mark that stands for something else
is itself escaped where a text holds it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError, MaskworkError
from .alphabet import BYTE_OF
from .file import END_OF_TEXT
from .tokenizer import Tokenizer

_MARKS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "\\": "\\\\"}
#: What stands for something else in what is printed, and so never for itself. The last four are explain_batch's.
_RESERVED = frozenset("␣↵⇥␍⟦⟧‖▒")
#: General categories without a glyph of their own: controls, formats, surrogates, unassigned, private, separators.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"))
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def visible(token: str | bytes) -> str:
    r"""One token as printable text: ␣ is a space, ↵ a newline, ⇥ a tab, ␍ a carriage return, \xe2 a byte that is part
    of a character, \x1b or \u200b a character without a glyph, \\ a backslash; the empty token is "".

    >>> visible(" cat\n"), visible("é".encode()[:1]), visible("␣\x1b[0m")
    ('␣cat↵', '\\xc3', '\\u2423\\x1b[0m')
    """
    text = token.decode("utf-8", errors="surrogateescape") if isinstance(token, bytes) else token
    shown = [_visible_character(character, isinstance(token, bytes)) for character in text]
    # A combining mark at the start would join what is printed before it.
    if text and unicodedata.category(text[0]).startswith("M"):
        shown[0] = _escaped(text[0])
    return "".join(shown)


def token_text(tokenizer: Any) -> Callable[[int], str]:
    """From a token id to `visible` text, by any tokenizer; `#7` is id 7 where there is no text.

    Args:
        tokenizer: this package's `Tokenizer`, one of transformers, a callable from id to str or bytes, or None.

    Raises:
        ArgumentError: `tokenizer` is none of those; the callable returns something else.

    >>> from maskwork.data import token_text
    >>> words = token_text(["<pad>", " the", "cat"].__getitem__)
    >>> words(1), words(2), words(3), token_text(None)(7)
    ('␣the', 'cat', '#3', '#7')
    """
    piece = _piece_of(tokenizer)
    known: dict[int, str] = {}

    def text(token: int) -> str:
        if token not in known:
            known[token] = _shown(piece, token)
        return known[token]

    return text


def _shown(piece: Callable[[int], str | bytes | None], token: int) -> str:
    # A negative index would silently read a list from its end.
    try:
        found = piece(token) if token >= 0 else None
    except (LookupError, MaskworkError):
        found = None
    if found is None:
        return f"#{token}"
    if not isinstance(found, str | bytes):
        raise ArgumentError(
            f"a callable tokenizer returns the text of an id, str or bytes; found {type(found).__name__} for {token}; "
            "return the token's text"
        )
    return visible(found)


def _piece_of(tokenizer: Any) -> Callable[[int], str | bytes | None]:
    if tokenizer is None:
        return lambda token: None
    if isinstance(tokenizer, Tokenizer):
        return lambda token: END_OF_TEXT if token == tokenizer.end_of_text else tokenizer.token_bytes(token)
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        return _hugging_face(tokenizer)
    if callable(tokenizer):
        return tokenizer
    raise ArgumentError(
        "a tokenizer is maskwork's, one of transformers, a callable from an id to its text, or None; "
        f"found {type(tokenizer).__name__}; pass one of those"
    )


def _hugging_face(tokenizer: Any) -> Callable[[int], str | bytes | None]:
    """The piece itself and not `decode([id])`, which drops leading spaces and cannot say which bytes are broken."""
    added = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    by_bytes = b"ByteLevel" in decoder.__getstate__() if decoder is not None else hasattr(tokenizer, "byte_decoder")

    def piece(token: int) -> str | bytes | None:
        try:
            found = tokenizer.convert_ids_to_tokens(token)
        except (OverflowError, TypeError):
            return None
        if found is None or token in added:
            return found
        if by_bytes and all(character in BYTE_OF for character in found):
            return bytes(BYTE_OF[character] for character in found)
        byte = _BYTE_TOKEN.fullmatch(found)  # a byte of SentencePiece
        return bytes([int(byte[1], 16)]) if byte else found.replace("▁", " ")

    return piece


def _visible_character(character: str, from_bytes: bool) -> str:
    if character in _MARKS:
        return _MARKS[character]
    if from_bytes and "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character in _RESERVED or unicodedata.category(character) in _UNSEEN:
        return _escaped(character)
    return character


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
