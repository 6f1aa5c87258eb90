"""From tokens to text, token by token: a byte-level token may end in the middle of a character."""

import codecs
from collections.abc import Callable


class StreamingDetokenizer:
    """A decoder of token ids to text, one id at a time, that never returns half a UTF-8 character.

    `token_bytes` is a function from a token id to its raw bytes (`Tokenizer.token_bytes`). Bytes that may still become
    a character wait until the character is complete, or until no further byte can complete it: then the bytes become
    U+FFFD. The texts that `push` and `finish` return, joined, are `b"".join(map(token_bytes, ids)).decode("utf-8",
    errors="replace")`.

    >>> pieces = [b"caf", b"\\xc3", b"\\xa9", b"!\\xe2\\x82"]
    >>> stream = StreamingDetokenizer(pieces.__getitem__)
    >>> [stream.push(token_id) for token_id in range(4)], stream.finish()
    (['caf', '', 'é', '!'], '\ufffd')
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        # Python's incremental decoder holds back the bytes of an incomplete character.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Return the text that is complete after this token; often empty in the middle of a character."""
        return self._decoder.decode(self._token_bytes(token_id))

    def finish(self) -> str:
        """Return the text of the bytes that wait (half a character: U+FFFD), and reset the decoder."""
        remainder = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return remainder
