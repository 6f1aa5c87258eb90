"""The tokenizer: byte-level BPE, so that every text has tokens and every token has bytes.

Byte-pair encoding is Sennrich et al. 2016, over bytes as in GPT-2 (Radford et al. 2019). Hugging Face `tokenizers`
does the encoding, and a saved file is its `tokenizer.json`, which transformers loads too.
"""

import hashlib
import json
import operator
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from ..._shared.files import write_atomic
from ..._shared.numbers import is_integer
from ...errors import ArgumentError, DataError
from .alphabet import token_to_bytes
from .file import END_OF_TEXT, read_vocabulary

# Text is encoded in pieces, because the backend needs some hundred bytes for each character of one call. A piece may
# end before a space or a newline that follows another character: there the pre-tokenizer cuts in any case, so the
# tokens are those of the text in one piece.
_PIECE_LENGTH = 1 << 16
_SAFE_CUT = re.compile(r"(?<=\S)(?=[ \n])")


class Tokenizer:
    """Byte-level BPE with one special token, `<|endoftext|>`, that text can never produce.

    A tokenizer is made by `train_tokenizer`, `from_file` or `from_json`; it is immutable and picklable.

    >>> from maskwork.data import Document, train_tokenizer
    >>> tokenizer = train_tokenizer([Document("a.py", b"def read(): return 1")], vocab_size=300)
    >>> tokenizer.decode(tokenizer.encode("def déjà <|endoftext|>"))
    'def déjà <|endoftext|>'
    >>> tokenizer.end_of_text in tokenizer.encode("<|endoftext|>")
    False
    """

    def __init__(self, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
        """Build the tokenizer from token -> id (0 to n-1) and the ordered merges, which are not checked."""
        self._backend = make_backend(models.BPE(vocab=vocabulary, merges=merges))
        self._backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
        self._end_of_text = vocabulary[END_OF_TEXT]
        ordered = sorted(vocabulary, key=vocabulary.__getitem__)
        self._bytes = tuple(b"" if token == END_OF_TEXT else token_to_bytes(token) for token in ordered)
        # Not a digest of to_json(): another version of the library may write the same tokenizer differently.
        self._digest = hashlib.sha256(json.dumps([ordered, merges]).encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Return the tokenizer that `to_json` wrote.

        Raises:
            DataError: the text is damaged or of another kind of tokenizer.
        """
        vocabulary, merges = read_vocabulary(text, source="the text")
        return cls(vocabulary, merges)

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Return the tokenizer in a `tokenizer.json`.

        Raises:
            DataError: the file is missing, damaged or of another kind of tokenizer.
        """
        try:
            # A regular file only: reading a pipe could wait forever.
            text = Path(path).read_bytes().decode("utf-8") if Path(path).is_file() else None
            problem = "no such file" if text is None else ""
        except OSError as error:
            text, problem = None, error.strerror or str(error)
        except UnicodeDecodeError:
            text, problem = None, "not UTF-8 text"
        if text is None:
            raise DataError(f"a tokenizer must be a tokenizer.json file, got {str(path)!r}: {problem}; check the path")
        vocabulary, merges = read_vocabulary(text, source=repr(str(path)))
        return cls(vocabulary, merges)

    @property
    def vocab_size(self) -> int:
        """The number of tokens; ids are 0 to vocab_size - 1. A small corpus may give few tokens."""
        return len(self._bytes)

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`, which separates documents."""
        return self._end_of_text

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the tokens and merges: equal digests encode equally."""
        return self._digest

    def encode(self, text: str) -> list[int]:
        """Return the text's token ids, without special ones; `decode` returns exactly the text.

        Raises:
            ArgumentError: `text` is not a `str`, or holds a lone surrogate, which has no UTF-8 bytes.
        """
        _check_text(text)
        ids: list[int] = []
        for piece in text_pieces(text):
            ids += self._backend.encode(piece, add_special_tokens=False).ids
        return ids

    def encode_document(self, text: str) -> list[int]:
        """Return `end_of_text`, the tokens, `end_of_text`: the first token is predicted too, the end is learnt."""
        return [self._end_of_text, *self.encode(text), self._end_of_text]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids; bytes that are not UTF-8 become U+FFFD, `end_of_text` has no text."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """Return the raw bytes of one token, perhaps a part of a character; b"" for `end_of_text`.

        Raises:
            ArgumentError: the id is no integer from 0 to vocab_size - 1.
        """
        if not is_integer(token_id) or not 0 <= (index := operator.index(token_id)) < len(self._bytes):
            raise ArgumentError(
                f"a token id of this tokenizer must be an integer from 0 to {len(self._bytes) - 1}, got {token_id!r}; "
                "use the tokenizer that made the ids"
            )
        return self._bytes[index]

    def to_json(self) -> str:
        """Return the tokenizer as a `tokenizer.json`.

        In other programs that load the file, unlike here, text can spell the special token.
        """
        return self._backend.to_str(pretty=True)

    def save(self, path: str | Path) -> None:
        """Write `to_json()` to `path`, atomically; raise as `write_atomic` does."""
        write_atomic(path, self.to_json())

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, digest={self.digest[:12]!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Tokenizer.from_json, (self.to_json(),)


def make_backend(model: models.BPE) -> Backend:
    """Return the one pipeline of this package round a BPE model: no normalizer, GPT-2's cuts, bytes."""
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    # Text that spells the special token is text. The flag is not saved in the JSON, so every new backend sets it.
    backend.encode_special_tokens = True
    return backend


def text_pieces(text: str, length: int = _PIECE_LENGTH) -> Iterator[str]:
    """Yield a text in pieces of about `length` >= 1 characters, whose tokens together are those of the text."""
    start = 0
    while start < len(text):
        cut = _SAFE_CUT.search(text, start + length)
        end = cut.start() if cut else len(text)
        yield text[start:end]
        start = end


def _check_text(text: str) -> None:
    """Raise `ArgumentError` unless `text` is a `str` that has UTF-8 bytes."""
    if not isinstance(text, str):
        raise ArgumentError(f"a tokenizer encodes a str, got {type(text).__name__}; decode bytes as UTF-8 first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArgumentError(
            f"text must be valid Unicode, got the lone surrogate U+{ord(text[error.start]):04X} at "
            f"position {error.start}; use text.encode('utf-8', 'replace').decode()"
        ) from None
