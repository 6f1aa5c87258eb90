"""Exports that load on first use, and names that have moved."""

import subprocess
import sys


def test_a_name_that_has_moved_warns_once_where_it_is_imported():
    code = "from maskwork.lower import to_tiles"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("has moved") == 1
