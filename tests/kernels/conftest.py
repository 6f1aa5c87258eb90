"""Tiles are tested both ways: compiled, and made of PyTorch's operators."""

import pytest
import torch

from maskwork.kernels._tiled import native as _native


@pytest.fixture(params=["compiled", "operators"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two `impl="tiled"` takes."""
    if request.param == "operators":
        monkeypatch.setattr(_native, "available", lambda dtype: False)
    elif not _native.available(torch.float32):
        pytest.skip("needs a C compiler")
    return request.param
