"""The byte-level alphabet: 256 printable characters that stand for the 256 bytes, in tokens and merges.

The alphabet is GPT-2's (Radford et al. 2019), which Hugging Face's byte-level pieces use: a byte that is a printable
Latin-1 character stands for itself, the other bytes are numbered from U+0100 up.

    byte   0x41  0xe9  0x20  0x0a
    token  A     é     Ġ     Ċ
"""


def _byte_characters() -> dict[str, int]:
    """Return character -> byte, for the 256 characters of the alphabet."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    unprintable = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update((chr(0x100 + index), byte) for index, byte in enumerate(unprintable))
    return alphabet


#: character -> byte
BYTE_OF = _byte_characters()


def token_to_bytes(token: str) -> bytes:
    """Return the bytes that a token spells; raise `KeyError` for a character outside the alphabet.

    >>> token_to_bytes("Ġdef")
    b' def'
    """
    return bytes(BYTE_OF[character] for character in token)
