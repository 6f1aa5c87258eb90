"""Exports that load on first use (PEP 562): a package's face names them without importing what they need."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, str], moved: Mapping[str, str] = MappingProxyType({})
) -> Callable[[str], Any]:
    """Return a module's `__getattr__`.

    Args:
        package: the module's `__name__`.
        homes: name -> module of that package which defines the name; a module that is the name's own home is exported
            itself.
        moved: name -> the module that defines it now, for names that stay importable from here for one release; their
            use raises a `DeprecationWarning`.

    >>> from maskwork._shared.lazy import lazy_exports
    >>> lazy_exports("maskwork", {"causal": "masks"})("causal")()
    causal
    """

    def load(name: str) -> Any:
        module = sys.modules[package]
        if name in moved:
            # Loaded first: loading may change the filters, after which Python forgets that it has warned here before.
            value = getattr(import_module(moved[name]), name)
            warnings.warn(f"{package}.{name} has moved, import it from {moved[name]}", DeprecationWarning, stacklevel=2)
            return value
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        loaded = import_module(f".{home}", package)
        value = loaded if home == name else getattr(loaded, name)
        setattr(module, name, value)  # the next access does not come here
        return value

    return load
