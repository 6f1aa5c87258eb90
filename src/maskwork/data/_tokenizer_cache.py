"""Where trained tokenizers are kept between runs; a cache can only save time, never stop a run."""

import hashlib
import os
import tempfile
from pathlib import Path

from ..errors import DataError
from ._files import write_atomic
from ._tokenizer import Tokenizer


def default_cache_dir() -> Path:
    """The folder for what can be made again; nothing is created.

    It is $MASKWORK_CACHE, else $XDG_CACHE_HOME/maskwork, else ~/.cache/maskwork. As the XDG base directory
    specification asks, a relative $XDG_CACHE_HOME is ignored.

    >>> default_cache_dir().is_absolute() or "MASKWORK_CACHE" in os.environ
    True
    """
    own = os.environ.get("MASKWORK_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and os.path.isabs(shared):
        return Path(shared, "maskwork")
    try:
        return Path.home() / ".cache" / "maskwork"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir(), "maskwork")


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
