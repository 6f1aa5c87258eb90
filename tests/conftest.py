"""Shared by all tests: the examples in Markdown run too, and helpers are importable."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# No deadline: nothing in a test depends on wall time. Derandomised: a run that passed passes again.
settings.register_profile("maskwork", deadline=None, derandomize=True)
settings.load_profile("maskwork")
