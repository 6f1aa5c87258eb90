"""Where trained tokenizers are kept between runs; a cache can only save time, never stop a run."""

import hashlib
from pathlib import Path

from ..._shared.files import write_atomic
from ...errors import DataError
from .tokenizer import Tokenizer


def load_cached(folder: Path, key: str) -> Tokenizer | None:
    """The tokenizer kept under the key; None when there is none, or when the file is damaged in any bit."""
    try:
        checksum, _, text = _path(folder, key).read_bytes().partition(b"\n")
        if checksum.decode() != hashlib.sha256(text).hexdigest():
            return None
        return Tokenizer.from_json(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError, DataError):
        return None


def save_cached(folder: Path, key: str, tokenizer: Tokenizer) -> None:
    """Keeps the tokenizer under the key, behind a line with its checksum; where that fails, does nothing."""
    text = tokenizer.to_json().encode("utf-8")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(_path(folder, key), hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    except (OSError, DataError):
        pass


def _path(folder: Path, key: str) -> Path:
    return folder / f"tokenizer-{key[:32]}.txt"
