"""Compression by general compressors, of the same bytes: yardsticks for a language model's bits per byte.

A model that predicts a text at b bits per byte would, with an arithmetic coder, compress it to b/8 of its
size (Shannon 1948; Delétang et al. 2024, "Language Modeling Is Compression"), so the two numbers compare
directly.
"""

import zlib
from collections.abc import Iterable

from ...errors import DataError
from .corpus import Document


def compressed_bits_per_byte(documents: Iterable[Document]) -> dict[str, float]:
    """Return the compressed bits per byte of the concatenated documents: `{"zlib -9": …, "lzma": …}`.

    `"lzma"` is missing where Python was built without that module.

    Raises:
        DataError: there are no bytes.

    >>> rates = compressed_bits_per_byte([Document("a.txt", b"spam and eggs, " * 100)])
    >>> 0 < rates["zlib -9"] < 1
    True
    """
    content = b"".join(document.content for document in documents)
    if not content:
        raise DataError("a compression rate needs at least one byte, got none; give documents that are not empty")
    sizes = {"zlib -9": len(zlib.compress(content, 9))}
    try:
        import lzma  # inside: a Python built without liblzma has no such module, and the rest needs none
    except ImportError:
        pass
    else:
        sizes["lzma"] = len(lzma.compress(content))
    return {name: 8 * size / len(content) for name, size in sizes.items()}
