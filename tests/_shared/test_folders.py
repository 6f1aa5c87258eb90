"""The folder of caches follows the environment, and is not created by asking for it."""

import os
from pathlib import Path

import pytest

from maskwork._shared.folders import default_cache_dir


def test_the_default_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("MASKWORK_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache_dir() == tmp_path / ".cache" / "maskwork"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_dir() == tmp_path / ".cache" / "maskwork"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "maskwork"
    monkeypatch.setenv("MASKWORK_CACHE", str(tmp_path / "own"))
    assert default_cache_dir() == tmp_path / "own"
    monkeypatch.setenv("MASKWORK_CACHE", "")
    assert default_cache_dir() == tmp_path / "xdg" / "maskwork"
    assert os.listdir(tmp_path) == []
