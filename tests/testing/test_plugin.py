"""The pytest plugin: a leak fails the test, and the failure is the report."""

import os
import subprocess
import sys
from pathlib import Path

SUITE = """
import torch, maskwork as mw

def running_sum(ids):
    return ids.cumsum(1)

def backwards(ids):
    return ids.flip(1).cumsum(1).flip(1)

def test_honest(mask_audit):
    assert mask_audit(running_sum, torch.arange(16), mw.causal(), checks=["mask"]).ok

def test_asserted():
    mw.testing.assert_honours(backwards, torch.arange(16), mw.causal())

def test_leaky(mask_audit):
    mask_audit(backwards, torch.arange(16), mw.causal(), checks=["mask"])
"""


def test_the_fixture_in_a_suite_of_its_own(tmp_path: Path):
    """By name, since an entry point needs an installation; test_the_entry_point says that there is one."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "maskwork.testing.plugin", "-p", "no:cacheprovider", "."]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # where it is installed, it would load twice
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 1 passed" in done.stdout
    assert "mask: leak" in done.stdout
    assert "forbidden but seen" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_entry_point():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"maskwork": "maskwork.testing.plugin"}
