"""Atomic writes: a temporary file in the same folder, flushed to the disk, then renamed to the target.

A rename within one folder is atomic (POSIX `rename`, Windows `MoveFileEx` behind `os.replace`), so a reader sees the
old content or the new one, and a crash at any moment leaves one of the two.
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
    """Yield a temporary path in the same folder, which is renamed to `path` when the block ends without an error.

    The temporary file does not exist yet, is hidden, and has the suffix of `path` (some writers choose their format by
    the suffix). When the block raises, the temporary file is removed. A symbolic link at `path` is replaced; the file
    that the link points to stays.

    Raises:
        DataError: `path` cannot be such a file (no such folder, a folder, a device).
        OSError: the operating system's own error (a full disk, no permission).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with temporary_beside(folder / "model.safetensors") as temporary:
    ...     _ = temporary.write_bytes(b"weights")
    >>> [file.name for file in folder.iterdir()]
    ['model.safetensors']
    """
    target = Path(path)
    _check_target(target)
    # In the target's own folder: a rename between file systems is a copy, and not atomic. Hidden and random, so that
    # neither a glob nor another process meets the name.
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp{target.suffix}"
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)  # the one moment at which readers switch from the old content to the new
    except BaseException:  # Ctrl-C too: no half-written file stays behind
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    r"""Write `content` to `path` so that no reader ever sees half of the file; text as UTF-8, line ends unchanged.

    Raises:
        DataError, OSError: as `temporary_beside`; the file that was at `path` before is then unchanged.

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
    """Raise `DataError` unless a file can be created at `target` or replaced there."""
    if not target.parent.is_dir():
        raise DataError(f"a file needs an existing folder, got none at {str(target.parent)!r}; create it first")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    # Renaming over a device would replace it: as root, `--svg /dev/null` must not remove /dev/null.
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a special file"
        raise DataError(f"only a regular file can be replaced, got {kind} at {str(target)!r}; give another path")


def _flush(path: Path) -> None:
    """Force a file's content to the disk, before the rename can make it the only copy."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where the system can open a folder for that (not Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems refuse to flush a folder. The rename has happened; only its durability is then
        # up to the file system.
        pass
    finally:
        os.close(descriptor)
