"""The yardsticks of compression, against the compressors themselves."""

import builtins
import lzma
import zlib
from types import ModuleType

import pytest

from maskwork.data import Document, compressed_bits_per_byte
from maskwork.errors import DataError


def test_rates_are_of_the_concatenated_bytes() -> None:
    parts = [bytes(range(256)) * 3, b"spam " * 100]
    rates = compressed_bits_per_byte(Document(str(i), part) for i, part in enumerate(parts))
    whole = b"".join(parts)
    assert rates == {
        "zlib -9": 8 * len(zlib.compress(whole, 9)) / len(whole),
        "lzma": 8 * len(lzma.compress(whole)) / len(whole),
    }


def test_a_python_without_lzma_gives_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without_lzma(name: str, *rest: object) -> ModuleType:
        if name == "lzma":
            raise ImportError(name)
        return load(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_lzma)
    assert list(compressed_bits_per_byte([Document("a", b"spam")])) == ["zlib -9"]


@pytest.mark.parametrize("documents", [[], [Document("empty", b"")]])
def test_no_bytes_have_no_rate(documents: list[Document]) -> None:
    with pytest.raises(DataError, match="at least one byte"):
        compressed_bits_per_byte(documents)
