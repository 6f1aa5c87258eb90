"""`Lowerings`: what backends made of one bound mask, so that 32 layers lower the mask once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Lowerings:
    """Lowerings by key, such as `("dense", device)`, each made on first use."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the lowering of `key`; the first call makes it with `make`."""
        if key not in self._by_key:
            self._by_key[key] = make()
        return self._by_key[key]

    def has(self, key: Hashable) -> bool:
        """Return whether the lowering of `key` was made."""
        return key in self._by_key
