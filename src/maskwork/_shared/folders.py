"""Where files are kept that can be made again."""

import os
import tempfile
from pathlib import Path


def default_cache_dir() -> Path:
    """The folder for what can be made again; nothing is created.

    It is $MASKWORK_CACHE, else $XDG_CACHE_HOME/maskwork, else ~/.cache/maskwork. As the XDG base directory
    specification asks, a relative $XDG_CACHE_HOME is ignored.

    >>> default_cache_dir().is_absolute() or "MASKWORK_CACHE" in os.environ
    True
    """
    own = os.environ.get("MASKWORK_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and os.path.isabs(shared):
        return Path(shared, "maskwork")
    try:
        return Path.home() / ".cache" / "maskwork"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir(), "maskwork")
