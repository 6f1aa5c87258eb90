"""The byte-level alphabet: 256 printable characters that stand for the 256 bytes, in tokens and merges.

It is GPT-2's (Radford et al. 2019), which Hugging Face's byte-level pieces use: a byte that is a printable
Latin-1 character stands for itself, the others are numbered from U+0100 up.
"""


def _byte_characters() -> dict[str, int]:
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update((chr(0x100 + index), byte) for index, byte in enumerate(others))
    return alphabet


BYTE_OF = _byte_characters()


def token_to_bytes(token: str) -> bytes:
    """The bytes that a token spells; raises `KeyError` for a character outside the alphabet.

    >>> token_to_bytes("Ġdef")
    b' def'
    """
    return bytes(BYTE_OF[character] for character in token)
