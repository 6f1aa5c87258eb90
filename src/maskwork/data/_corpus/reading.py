"""From files to a corpus: which files are read, which are skipped, and the errors of a path that cannot be used.

Only regular files are opened: a pipe or a device would block or never end. Linked folders are not entered, so a loop
of links cannot trap the walk; a linked file is read like any other.
"""

import os
import platform
import re
import stat
import sysconfig
from collections.abc import Callable
from pathlib import Path

from ...errors import DataError
from .corpus import Corpus, Document, split_documents

_NOT_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}
# test, tests, idle_test, test_tkinter, … but not unittest, which is library
_TEST_FOLDER = re.compile(r"tests?|.*_tests?|tests?_.*")


def standard_library(root: Path | None = None) -> Corpus:
    """Return the source of the running Python's standard library: a corpus that every machine already has.

    The corpus holds all `*.py` files below `root` (by default what `sysconfig` names `stdlib`), without installed
    packages and test folders, in the order of their relative paths. Each file is one document. Nothing is downloaded.

    Raises:
        DataError: the source is not a folder (some embedded Pythons carry the source in a zip file).

    >>> corpus = standard_library()
    >>> "json/decoder.py" in {document.name for document in corpus.train + corpus.validation}
    True
    """
    folder = Path(sysconfig.get_path("stdlib")) if root is None else Path(root)
    if not folder.is_dir():
        raise DataError(
            f"the standard library's source must be a folder, got none at {str(folder)!r}; give another text or folder"
        )
    name = f"Python {platform.python_version()} standard library" if root is None else _name_of(folder)
    files = _walk(folder, lambda name: name not in _NOT_LIBRARY and not _TEST_FOLDER.fullmatch(name))
    return _corpus_of(name, folder, {name: path for name, path in files.items() if name.endswith(".py")})


def read_corpus(path: str | Path) -> Corpus:
    """Return the corpus in a file or in a folder; all of the text is held in memory.

    A folder is read with all folders below it, in the order of relative paths; hidden files and folders (`.git`) are
    skipped. Each file is one document, and about 10 % of the documents, chosen by a hash of their content, are
    validation. A single file is one document, whose last 10 % are validation, cut at a line start where one is near.
    Files that are not text, and exact duplicates, are skipped and counted.

    Raises:
        DataError: the path does not exist, the file is empty, unreadable or not UTF-8 text, or the folder has no
            usable file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lines.txt"
    >>> _ = path.write_text("".join(f"line {i}" + chr(10) for i in range(10)))
    >>> read_corpus(path).validation[0].text
    'line 9\\n'
    """
    root = Path(path)
    mode = _mode_of(root) if str(path) else None
    if mode is None:
        raise DataError(f"a corpus must be a file or a folder, got nothing at {str(path)!r}; check the path")
    if stat.S_ISDIR(mode):
        return _corpus_of(_name_of(root), root, _walk(root, lambda name: True))
    if not stat.S_ISREG(mode):
        raise DataError(
            f"a corpus must be a regular file or a folder, got a pipe or device, {str(path)!r}; save the text to a file"
        )
    content = _read(root)
    if not content:
        raise DataError(f"a corpus needs text, got the empty file {str(path)!r}; give a file that is not empty")
    problem = _not_text(content)
    if problem is not None:
        raise DataError(
            f"a corpus must be UTF-8 text, got {problem} in {str(path)!r}; convert it to UTF-8, or give another"
        )
    train, validation = split_documents([Document(_valid_unicode(root.name), content)])
    return Corpus(_name_of(root), train, validation, not_utf8=0, duplicates=0)


def _corpus_of(name: str, folder: Path, files: dict[str, Path]) -> Corpus:
    """Read the files, skip empty, binary and duplicate ones, and split the documents."""
    documents: dict[str, Document] = {}
    not_utf8 = duplicates = empty = 0
    for relative, path in sorted(files.items()):
        content = _read(path)
        document = Document(_valid_unicode(relative), content)
        if not content:
            empty += 1
        elif _not_text(content) is not None:
            not_utf8 += 1
        elif documents.setdefault(document.digest, document) is not document:
            duplicates += 1
    if not documents:
        reasons = [f"{not_utf8} not UTF-8 text" if not_utf8 else "", f"{empty} empty" if empty else ""]
        skipped = ", ".join(filter(None, reasons)) or "no files, hidden ones aside"
        raise DataError(
            f"a corpus needs at least one non-empty text file, got none under {str(folder)!r} ({skipped}); "
            "give a folder with text or a text file"
        )
    train, validation = split_documents(list(documents.values()))
    return Corpus(name, train, validation, not_utf8, duplicates)


def _walk(root: Path, enter: Callable[[str], bool]) -> dict[str, Path]:
    """Return relative path (with `/`) -> path, of the regular files below `root` that are not hidden."""

    # os.walk skips unreadable folders silently; a corpus with a hole must not pass as the whole
    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from None

    files: dict[str, Path] = {}
    for folder, folders, names in os.walk(root, onerror=fail):
        # written into in place: os.walk enters only the folders that are left in its list
        folders[:] = [name for name in folders if not name.startswith(".") and enter(name)]
        for name in names:
            path = Path(folder, name)
            mode = None if name.startswith(".") else _mode_of(path)
            if mode is not None and stat.S_ISREG(mode):
                files[path.relative_to(root).as_posix()] = path
    return files


def _mode_of(path: Path) -> int | None:
    """Return the mode of the file, links followed; None when there is no file (or a link to none)."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the path
        return None
    except OSError as error:  # a loop of links, no permission, a name that is too long
        raise _unreadable(path, error) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"every file of a corpus must be readable, got {str(path)!r}: {error.strerror or error}; "
        "change its permissions or move the file"
    )


def _not_text(content: bytes) -> str | None:
    """Return why the content is not UTF-8 text, or None when the content is text."""
    zero = content.find(b"\0")
    if zero >= 0:
        return f"a zero byte at offset {zero} (a binary file?)"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"an invalid byte at offset {error.start}"
    return None


def _name_of(path: Path) -> str:
    return _valid_unicode(path.name or path.resolve().name or str(path))


def _valid_unicode(name: str) -> str:
    """Return a file name as text that can be printed and saved, even where the name is not valid UTF-8 on disk."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
