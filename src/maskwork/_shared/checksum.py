"""The checksum of a file of tensors: safetensors notices a missing byte but not a changed one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch


def tensors_crc32(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return the CRC-32 of names and contents, in the order of the names, of contiguous tensors on the CPU."""
    crc = 0
    for name in sorted(tensors):
        # Viewed as bytes, because NumPy has no bfloat16.
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), crc))
    return crc
