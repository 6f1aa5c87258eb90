"""Which files become a corpus, and the one line that each unusable path gives."""

import os
import re
import sysconfig
from pathlib import Path

import pytest

from maskwork.data import Corpus, read_corpus, standard_library
from maskwork.errors import DataError


def make(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def names(corpus: Corpus) -> list[str]:
    return sorted(document.name for document in corpus.train + corpus.validation)


def refused(path: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        read_corpus(path)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(", got .+; ", message)  # the rule, what was got; the fix
    return message


def test_a_folder_is_read_whole_in_the_order_of_paths_hidden_ones_left_out(tmp_path: Path) -> None:
    make(
        tmp_path,
        {"b.txt": "b", "a/z.md": "z", "a/y/x": "x", ".hidden": "h", ".git/config": "g", "a/.b/c": "c"},
    )
    corpus = read_corpus(tmp_path)
    assert names(corpus) == ["a/y/x", "a/z.md", "b.txt"]
    assert corpus.name == tmp_path.name
    for side in (corpus.train, corpus.validation):
        assert [d.name for d in side] == sorted(d.name for d in side)
    assert corpus.train_bytes + corpus.validation_bytes == 3


def test_what_is_not_text_is_counted_and_skipped(tmp_path: Path) -> None:
    make(
        tmp_path,
        {"a": "a", "b": "b", "latin": b"caf\xe9", "binary": b"a\0b", "cut": b"\xe2\x82", "none": b""},
    )
    corpus = read_corpus(tmp_path)
    assert names(corpus) == ["a", "b"]
    assert corpus.not_utf8 == 3
    assert corpus.duplicates == 0


def test_exact_duplicates_are_dropped_the_first_path_stays(tmp_path: Path) -> None:
    corpus = read_corpus(make(tmp_path, {"b": "same", "a": "same", "c/d": "same", "e": "other"}))
    assert names(corpus) == ["a", "e"]
    assert corpus.duplicates == 2


def test_reading_twice_or_from_elsewhere_gives_the_same_corpus(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{i}/{i}.txt": f"text {i}" for i in range(30)}
    here, there = make(tmp_path / "here", files), make(tmp_path / "there", dict(reversed(files.items())))
    assert read_corpus(here) == read_corpus(str(here))
    assert read_corpus(here).digest == read_corpus(there).digest


def test_a_folder_with_one_usable_file_is_cut_like_a_file(tmp_path: Path) -> None:
    text = "".join(f"line {i}\n" for i in range(10))
    make(tmp_path, {"a.txt": text, "copy.txt": text, "bad": b"\xff"})
    corpus = read_corpus(tmp_path)
    assert [d.text for d in corpus.validation] == ["line 9\n"]
    assert corpus.train[0].text + corpus.validation[0].text == text
    assert (corpus.not_utf8, corpus.duplicates) == (1, 1)
    alone = read_corpus(tmp_path / "a.txt")
    assert (alone.train, alone.validation) == (corpus.train, corpus.validation)
    assert alone.name == "a.txt"


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path / "novels", {"a": "a", "b": "b"}))
    assert read_corpus(".").name == "novels"


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    make(tmp_path, {"empty": b"", "latin": b"caf\xe9", "binary": b"ab\0", "file": "text"})
    (tmp_path / "folder").mkdir()
    assert "got nothing at" in refused(tmp_path / "missing")
    assert "got nothing at" in refused(tmp_path / "file" / "below")
    assert "got nothing at ''" in refused("")
    assert "got nothing at" in refused("zero\0byte")
    assert "empty file" in refused(tmp_path / "empty")
    assert "invalid byte at offset 3" in refused(tmp_path / "latin")
    assert "zero byte at offset 2 (a binary file?)" in refused(tmp_path / "binary")
    assert "(no files, hidden ones aside)" in refused(tmp_path / "folder")
    refused("x" * 5000)


def test_a_folder_with_nothing_usable_says_why(tmp_path: Path) -> None:
    make(tmp_path, {"a": b"\xff", "b": b"\0", "c": b""})
    assert "(2 not UTF-8 text, 1 empty)" in refused(tmp_path)


def test_an_unreadable_file_is_an_error_not_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"a": "a", "b": "b", "c": "c"})
    read = Path.read_bytes

    def deny(path: Path) -> bytes:
        if path.name == "b":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert "Permission denied" in refused(tmp_path)
    assert "Permission denied" in refused(tmp_path / "b")


def test_an_unreadable_folder_is_an_error_not_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"a": "a", "locked/b": "b"})
    scan = os.scandir

    def deny(path: str) -> object:  # not chmod: root may read everything
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert "Permission denied" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_special_files_are_never_read(tmp_path: Path) -> None:
    make(tmp_path, {"a": "a", "b": "b"})
    os.mkfifo(tmp_path / "pipe")
    assert names(read_corpus(tmp_path)) == ["a", "b"]
    assert "pipe or device" in refused(tmp_path / "pipe")


@pytest.mark.skipif(os.name != "posix", reason="links as on POSIX")
def test_links_to_files_are_read_links_to_folders_and_to_nothing_are_not(tmp_path: Path) -> None:
    make(tmp_path, {"corpus/a": "a", "corpus/sub/b": "b", "elsewhere/c": "c"})
    (tmp_path / "corpus/sub/loop").symlink_to("..", target_is_directory=True)
    (tmp_path / "corpus/far").symlink_to("../elsewhere", target_is_directory=True)
    (tmp_path / "corpus/c").symlink_to("../elsewhere/c")
    (tmp_path / "corpus/dangling").symlink_to("nowhere")
    assert names(read_corpus(tmp_path / "corpus")) == ["a", "c", "sub/b"]
    (tmp_path / "entry").symlink_to("corpus", target_is_directory=True)
    assert names(read_corpus(tmp_path / "entry")) == ["a", "c", "sub/b"]
    (tmp_path / "self").symlink_to("self")
    refused(tmp_path / "self")


@pytest.mark.skipif(os.name != "posix", reason="names as on POSIX")
def test_a_file_name_that_is_not_utf8_still_gives_a_name_that_prints(tmp_path: Path) -> None:
    make(tmp_path, {"a": "a"})
    try:
        (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(b"b")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert names(read_corpus(tmp_path)) == ["a", "caf\ufffd"]


def test_standard_library_takes_python_sources_and_leaves_tests_and_packages_out(tmp_path: Path) -> None:
    kept = ["abc.py", "doctest.py", "json/decoder.py", "unittest/mock.py", "testing.py"]
    left = [
        "site-packages/p.py",
        "dist-packages/p.py",
        "json/__pycache__/x.py",
        "test/test_abc.py",
        "test/support/x.py",
        "unittest/test/t.py",
        "lib2to3/tests/data/t.py",
        "idlelib/idle_test/t.py",
        "tkinter/test_ttk/t.py",
        "LICENSE.txt",
        "x.pyc",
    ]
    make(tmp_path, {name: f"# {name}" for name in [*kept, *left]})
    make(tmp_path, {"latin.py": b"# caf\xe9", "empty.py": b"", "copy.py": "# abc.py"})
    corpus = standard_library(tmp_path)
    assert names(corpus) == sorted(kept)
    assert (corpus.not_utf8, corpus.duplicates) == (1, 1)


def test_the_standard_library_of_this_python() -> None:
    corpus = standard_library()
    assert corpus.name.startswith("Python 3.")
    assert corpus.train_bytes > 5_000_000
    assert 0.03 < corpus.validation_bytes / (corpus.train_bytes + corpus.validation_bytes) < 0.3
    found = names(corpus)
    assert "unittest/mock.py" in found
    assert not [name for name in found if {"test", "tests", "site-packages"} & set(name.split("/"))]
    root = Path(sysconfig.get_path("stdlib"))
    for document in corpus.validation[:3]:
        assert document.content == (root / document.name).read_bytes()


def test_a_python_without_its_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none at"):
        standard_library(tmp_path / "python311.zip")
    with pytest.raises(DataError, match="non-empty text file"):
        standard_library(tmp_path)
