"""A file is whole or not there: what is left behind when a write ends well, badly, or not at all."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maskwork.data import temporary_beside, write_atomic
from maskwork.errors import DataError


def test_write_makes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_atomic(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    write_atomic(str(path), b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_block_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def write_half() -> None:
        with temporary_beside(path) as temporary:
            temporary.write_bytes(b"half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_the_content_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    write_atomic(tmp_path / "x", b"new")
    assert steps[:2] == ["fsync", "replace"]


def test_the_temporary_is_hidden_beside_the_target_with_its_suffix(tmp_path: Path) -> None:
    with temporary_beside(tmp_path / "loss.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")
        assert not temporary.exists()
        temporary.write_bytes(b"")
    assert (tmp_path / "loss.png").exists()


def test_a_block_that_writes_nothing_does_not_empty_the_target(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), temporary_beside(path):
        pass
    assert path.read_bytes() == b"old"


def test_safetensors_can_save_through_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with temporary_beside(path) as temporary:
        save_file({"w": np.arange(3)}, temporary)
    assert load_file(path)["w"].tolist() == [0, 1, 2]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as on POSIX")
def test_permissions_follow_the_umask_and_a_link_is_replaced(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "x", b"new")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("x")
    write_atomic(tmp_path / "link", b"other")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


def test_a_missing_folder_or_a_folder_as_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"existing folder, got none at .*'; create it first"):
        write_atomic(tmp_path / "no" / "x", b"")
    with pytest.raises(DataError, match="got a folder"):
        write_atomic(tmp_path, b"")
    with pytest.raises(DataError, match="got a folder"):
        write_atomic("", b"")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_special_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="special file"):
        write_atomic(tmp_path / "pipe", b"")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
