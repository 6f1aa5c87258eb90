"""The text of one token, with every character made visible: spaces, line ends, control characters, broken UTF-8.

`visible` is injective: two texts that differ are printed differently, since every mark that stands for another
character is itself escaped where a text holds the mark.
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
#: Marks that stand for other characters in printed text, and so never for themselves. The last four are
#: explain_batch's.
_RESERVED = frozenset("␣↵⇥␍⟦⟧‖▒")
#: General categories without a glyph of their own: controls, formats, surrogates, unassigned, private, separators.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"))
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def visible(token: str | bytes) -> str:
    r"""Return one token as printable text: ␣ is a space, ↵ a newline, ⇥ a tab, ␍ a carriage return, \xe2 a byte that
    is part of a character, \x1b or \u200b a character without a glyph, \\ a backslash; the empty token is "".

    >>> visible(" cat\n"), visible("é".encode()[:1]), visible("␣\x1b[0m")
    ('␣cat↵', '\\xc3', '\\u2423\\x1b[0m')
    """
    text = token.decode("utf-8", errors="surrogateescape") if isinstance(token, bytes) else token
    characters = [_visible_character(character, isinstance(token, bytes)) for character in text]
    # A combining mark at the start would join the character that is printed before the token.
    if text and unicodedata.category(text[0]).startswith("M"):
        characters[0] = _escaped(text[0])
    return "".join(characters)


def token_text(tokenizer: Any) -> Callable[[int], str]:
    """Return a function from a token id to `visible` text, for any tokenizer; `#7` is id 7 where there is no text.

    Args:
        tokenizer: this package's `Tokenizer`, one of transformers, a callable from id to str or bytes, or None.

    Raises:
        ArgumentError: `tokenizer` is of another type; the callable returns a value of another type.

    >>> from maskwork.data import token_text
    >>> words = token_text(["<pad>", " the", "cat"].__getitem__)
    >>> words(1), words(2), words(3), token_text(None)(7)
    ('␣the', 'cat', '#3', '#7')
    """
    piece = _piece_of(tokenizer)
    texts: dict[int, str] = {}

    def text(token: int) -> str:
        if token not in texts:
            texts[token] = _visible_token(piece, token)
        return texts[token]

    return text


def _visible_token(piece: Callable[[int], object], token: int) -> str:
    """Return the visible text of a token, `#id` where the tokenizer has none."""
    # A negative index would silently read a list from its end.
    try:
        text = piece(token) if token >= 0 else None
    except (LookupError, MaskworkError):
        text = None
    if text is None:
        return f"#{token}"
    if not isinstance(text, str | bytes):
        raise ArgumentError(
            f"a callable tokenizer must return the text of an id, str or bytes, got {type(text).__name__} for {token}"
        )
    return visible(text)


def _piece_of(tokenizer: Any) -> Callable[[int], object]:
    """Return a function from a token id to the token's text or bytes, None where there is none."""
    if tokenizer is None:
        return lambda token: None
    if isinstance(tokenizer, Tokenizer):
        return lambda token: END_OF_TEXT if token == tokenizer.end_of_text else tokenizer.token_bytes(token)
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        return _hugging_face(tokenizer)
    if callable(tokenizer):
        return tokenizer
    raise ArgumentError(
        "a tokenizer must be maskwork's, one of transformers, a callable from an id to its text, or None, "
        f"got {type(tokenizer).__name__}"
    )


def _hugging_face(tokenizer: Any) -> Callable[[int], str | bytes | None]:
    """Return a function from an id to the piece of a tokenizer of transformers.

    The piece is not `decode([id])`, which drops leading spaces and does not tell which bytes are broken.
    """
    added = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    by_bytes = b"ByteLevel" in decoder.__getstate__() if decoder is not None else hasattr(tokenizer, "byte_decoder")

    def piece(token: int) -> str | bytes | None:
        try:
            spelling = tokenizer.convert_ids_to_tokens(token)
        except (OverflowError, TypeError):
            return None
        if spelling is None or token in added:
            return spelling
        if by_bytes and all(character in BYTE_OF for character in spelling):
            return bytes(BYTE_OF[character] for character in spelling)
        byte = _BYTE_TOKEN.fullmatch(spelling)  # a byte of SentencePiece
        return bytes([int(byte[1], 16)]) if byte else spelling.replace("▁", " ")

    return piece


def _visible_character(character: str, from_bytes: bool) -> str:
    """Return a character as printable text; `from_bytes`: lone low surrogates stand for broken bytes."""
    if character in _MARKS:
        return _MARKS[character]
    if from_bytes and "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character in _RESERVED or unicodedata.category(character) in _UNSEEN:
        return _escaped(character)
    return character


def _escaped(character: str) -> str:
    """Return a character as its escape."""
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
