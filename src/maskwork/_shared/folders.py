"""The folder of caches: files that can be made again."""

import os
import tempfile
from pathlib import Path


def default_cache_dir() -> Path:
    """Return the folder for files that can be made again; nothing is created.

    The folder is $MASKWORK_CACHE, else $XDG_CACHE_HOME/maskwork, else ~/.cache/maskwork. As the XDG base directory
    specification says, a relative $XDG_CACHE_HOME is ignored.

    >>> default_cache_dir().is_absolute() or "MASKWORK_CACHE" in os.environ
    True
    """
    maskwork_cache = os.environ.get("MASKWORK_CACHE")
    if maskwork_cache:
        return Path(maskwork_cache)
    xdg_cache = os.environ.get("XDG_CACHE_HOME")
    if xdg_cache and os.path.isabs(xdg_cache):
        return Path(xdg_cache, "maskwork")
    try:
        return Path.home() / ".cache" / "maskwork"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir(), "maskwork")
