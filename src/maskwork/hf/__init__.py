"""transformers: one place that opens a Hugging Face model and reads its own masks. The names load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._shared.lazy import lazy_exports

if TYPE_CHECKING:
    from ._masks import masks_text, own_masks
    from ._open import (
        OpenedModel,
        build_random,
        check_weight_files,
        describe_model,
        is_model_folder,
        open_folder,
        open_model,
        read_config,
    )

__all__ = [
    "OpenedModel",
    "build_random",
    "check_weight_files",
    "describe_model",
    "is_model_folder",
    "masks_text",
    "open_folder",
    "open_model",
    "own_masks",
    "read_config",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "OpenedModel": "_open",
        "build_random": "_open",
        "check_weight_files": "_open",
        "describe_model": "_open",
        "is_model_folder": "_open",
        "masks_text": "_masks",
        "open_folder": "_open",
        "open_model": "_open",
        "own_masks": "_masks",
        "read_config": "_open",
    },
)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})
