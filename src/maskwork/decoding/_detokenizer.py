"""From tokens to text while they arrive: a byte-level token may end in the middle of a character."""

import codecs
from collections.abc import Callable


class StreamingDetokenizer:
    """Turns token ids into text one at a time, and never emits half a UTF-8 character.

    `token_bytes` gives the raw bytes of a token id (`Tokenizer.token_bytes`). Bytes that may still become a
    character are held back until they do, or until it is certain that they never will: then they become
    U+FFFD. All that `push` and `finish` return, joined, is `b"".join(map(token_bytes, ids)).decode("utf-8",
    errors="replace")`.

    >>> pieces = [b"caf", b"\\xc3", b"\\xa9", b"!\\xe2\\x82"]
    >>> stream = StreamingDetokenizer(pieces.__getitem__)
    >>> [stream.push(token_id) for token_id in range(4)], stream.finish()
    (['caf', '', 'é', '!'], '\ufffd')
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that is certain once this token has come; often empty in the middle of a character."""
        return self._decoder.decode(self._token_bytes(token_id))

    def finish(self) -> str:
        """What was held back, now that nothing more comes (half a character: U+FFFD); then starts anew."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
