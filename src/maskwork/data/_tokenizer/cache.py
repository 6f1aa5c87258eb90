"""The cache of trained tokenizers on disk; a cache can only save time, never stop a run."""

import hashlib
from pathlib import Path

from ..._shared.files import write_atomic
from ...errors import DataError
from .tokenizer import Tokenizer


def load_cached(folder: Path, key: str) -> Tokenizer | None:
    """Return the tokenizer stored under the key; None when there is no file, or when any bit of the file is damaged."""
    try:
        checksum, _, text = _path(folder, key).read_bytes().partition(b"\n")
        if checksum.decode() != hashlib.sha256(text).hexdigest():
            return None
        return Tokenizer.from_json(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError, DataError):
        return None


def save_cached(folder: Path, key: str, tokenizer: Tokenizer) -> None:
    """Store the tokenizer under the key, behind a line with its checksum; skip it where the folder is not writable."""
    text = tokenizer.to_json().encode("utf-8")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(_path(folder, key), hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    except (OSError, DataError):
        pass


def _path(folder: Path, key: str) -> Path:
    return folder / f"tokenizer-{key[:32]}.txt"
