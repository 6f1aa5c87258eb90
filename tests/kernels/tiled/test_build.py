"""The library of compiled tiles: compiled once, stored, and checked before it is loaded."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import maskwork as mw
from maskwork.kernels._tiled import build as _build
from maskwork.kernels._tiled import native as _native

compiler = pytest.mark.skipif(not _native.available(torch.float32), reason="needs a C compiler")
# What is tested here is the storing: a library that is compiled without optimisation takes a quarter of the time.
FLAGS = ("-O0", "-std=gnu11", "-fPIC", "-fopenmp")
ASK = f"from maskwork.kernels._tiled import build; build._FLAGS = {FLAGS}; print(build.library(False) is not None)"


@pytest.fixture
def _fresh() -> Iterator[None]:
    """Let `library` look again, and forget afterwards what it found."""
    _build.library.cache_clear()
    yield
    _build.library.cache_clear()


@compiler
@pytest.mark.usefixtures("_fresh")
def test_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASKWORK_CACHE", str(tmp_path))
    monkeypatch.setattr(_build, "_FLAGS", FLAGS)
    # two processes at once make one library, whole
    processes = [subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].split() for process in processes] == [["True"], ["True"]]
    (path,) = (tmp_path / "native").iterdir()
    before = path.stat()
    # a crash left half of it: to load that would end the process
    os.truncate(path, path.stat().st_size // 2)
    assert _build.library(double=False) is not None
    (path,) = (tmp_path / "native").iterdir()
    assert path.stat().st_size == before.st_size
    # compiled once more for that, and then no more
    stored = path.stat()
    assert (stored.st_ino, stored.st_mtime_ns) != (before.st_ino, before.st_mtime_ns)
    _build.library.cache_clear()
    assert _build.library(double=False) is not None
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stored.st_ino, stored.st_mtime_ns)
    # in a folder that others can write to, it may be anybody's
    tmp_path.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path.parent))
    _build.library.cache_clear()
    assert _build.library(double=False) is None


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("why", ["switched off", "no compiler", "a broken compiler", "nowhere to write"])
def test_without_them_tiles_are_made_of_operators(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASKWORK_CACHE", str(tmp_path))
    if why == "switched off":
        monkeypatch.setenv("MASKWORK_NATIVE", "0")
    elif why == "no compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("CC", "")
    elif why == "a broken compiler":
        monkeypatch.setenv("CC", shutil.which("false") or "/bin/false")
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("MASKWORK_CACHE", str(tmp_path / "file"))
    assert not _native.available(torch.float32)
    q = torch.randn(1, 1, 50, 8, generator=torch.Generator().manual_seed(0))
    mask = mw.causal() & mw.sliding_window(9)
    tiled, reference = (mw.attention(q, q, q, mask, impl=impl) for impl in ("tiled", "reference"))
    assert (tiled - reference).abs().max() < 1e-5


def test_where_there_is_a_compiler_there_are_compiled_tiles():
    if sys.platform != "linux" or shutil.which("gcc") is None or os.environ.get("MASKWORK_NATIVE") == "0":
        pytest.skip("needs gcc on Linux")
    assert _native.available(torch.float32)
    assert _native.available(torch.float64)
