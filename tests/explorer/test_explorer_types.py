"""The page's JavaScript is typed by its comments, strictly."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = ["--allowJs", "--checkJs", "--noEmit", "--strict", "--noUnusedLocals", "--noUnusedParameters",
           "--target", "esnext", "--module", "esnext", "--moduleResolution", "bundler",
           "--lib", "esnext,dom,dom.iterable"]  # fmt: skip


@pytest.mark.skipif(not shutil.which("node"), reason="TypeScript's compiler needs node, which is not installed")
def test_the_types_of_the_page_fit():
    tsc = ROOT / ".venv" / "node" / "node_modules" / ".bin" / "tsc"
    assert tsc.exists(), "types of JavaScript are checked by TypeScript's compiler; run: make .venv/node.done"
    sources = sorted((ROOT / "src" / "maskwork" / "explorer" / "static").rglob("*.js"))
    assert sources
    done = subprocess.run([tsc, *OPTIONS, *sources], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
