"""Files that are either whole or not there: write beside, flush to the disk, then rename over.

A rename within one folder is atomic (POSIX `rename`, Windows `MoveFileEx` behind `os.replace`), so a reader
sees the old content or the new, and a crash at any moment leaves one of the two.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError


@contextmanager
def temporary_beside(path: str | Path) -> Iterator[Path]:
    """Lends a path in the same folder that becomes `path` when the block ends well, and vanishes when not.

    The lent path does not exist yet, is hidden, and ends in the suffix of `path` (some writers choose their
    format by it). A symbolic link at `path` is replaced, what it points to stays.

    Raises `DataError` where `path` cannot be such a file (no such folder, a folder, a device), and lets the
    operating system's own `OSError` pass (a full disk, no permission).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with temporary_beside(folder / "model.safetensors") as temporary:
    ...     _ = temporary.write_bytes(b"weights")
    >>> [file.name for file in folder.iterdir()]
    ['model.safetensors']
    """
    target = Path(path)
    _check_target(target)
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp{target.suffix}"
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too: whatever ends the block early, nothing half-written stays behind
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    r"""Writes `content` to `path` so that nobody ever sees half of it; text as UTF-8, line ends unchanged.

    Raises as `temporary_beside` does; whatever was at `path` before is then still there, whole.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "config.json"
    >>> write_atomic(path, "{}\n")
    >>> path.read_bytes()
    b'{}\n'
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with temporary_beside(path) as temporary:
        temporary.write_bytes(data)


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise DataError(f"a file needs an existing folder; found none at {str(target.parent)!r}; create it first")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    # Renaming over a device would replace it: as root, `--svg /dev/null` must not remove /dev/null.
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a special file"
        raise DataError(f"only a regular file can be replaced; found {found} at {str(target)!r}; give another path")


def _flush(path: Path) -> None:
    """Forces a file's content to the disk, before the rename can make it the only copy."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Forces the rename itself to the disk, where a folder can be opened for that (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems refuse it. The rename has happened; only its durability is theirs to
        # answer for.
        pass
    finally:
        os.close(descriptor)
