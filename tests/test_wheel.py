"""What is published: a wheel that brings the explorer into an empty environment, where it works offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Run by every Python of the environment as it starts: whoever speaks to another machine is written down and refused.
ALONE = """
import os, socket
_connect, _find = socket.socket.connect, socket.getaddrinfo
def _only_here(host):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        with open(os.environ["ASKED"], "a") as log:
            log.write(f"{host}\\n")
        raise OSError(f"offline: {host}")
def connect(self, address):
    if isinstance(address, tuple):
        _only_here(address[0])
    return _connect(self, address)
def getaddrinfo(host, *args, **named):
    _only_here(host)
    return _find(host, *args, **named)
socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
"""

#: A visit with nothing but the standard library: every file of the page, and one answer of each kind.
VISIT = """
import json, posixpath, re, subprocess, sys, urllib.request
server = subprocess.Popen([sys.argv[1], "explore", "--no-browser", "causal"], stdout=subprocess.PIPE, text=True)
try:
    at = re.search(r"(http://127\\.0\\.0\\.1:\\d+/)\\?mask=causal#token=(\\S+)", server.stdout.readline())
    get = lambda path: urllib.request.urlopen(at[1] + path).read()
    seen, wanted = set(), {""}
    while wanted:
        name = wanted.pop()
        seen.add(name)
        text = get(name).decode()
        named = re.findall(r'(?:src|href|from) ?=?"((?:\\.{1,2}/)*(?:[\\w-]+/)*[\\w-]+\\.\\w+)"', text)
        if name == "panels/panels.js":
            named += [f"{one}.js" for one in re.findall(r'^  \\["(\\w+)", "', text, re.M)]
        wanted.update(posixpath.normpath(posixpath.join(posixpath.dirname(name), one)) for one in named)
        wanted -= seen
    tile = get("api/tile?mask=causal&length=8&rows=8&columns=8")
    body = json.dumps({"path": "example:no-mask", "prompt": "offline", "mask": "causal"}).encode()
    asked = urllib.request.Request(at[1] + "api/model", body, {"x-maskwork-token": at[2]})
    model = json.load(urllib.request.urlopen(asked))
    print(json.dumps({"files": len(seen), "tile": len(tile), "cells": model["forbidden"]["cells"]}))
finally:
    server.terminate()
    server.wait()
"""


@pytest.mark.slow
def test_the_explorer_of_a_wheel_works_offline(tmp_path: Path, say: Callable[[str], None]):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        static = [one for one in archive.infolist() if "/explorer/static/" in one.filename]
    size = sum(one.file_size for one in static)
    assert size < 300_000
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    python = tmp_path / "empty" / "bin" / "python"
    constraints = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, "--python", python, "install", "--no-compile", *constraints, f"{wheel}[explore]"], check=True)
    (site,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    (site / "alone.py").write_text(ALONE)
    (site / "alone.pth").write_text("import alone\n")
    asked = tmp_path / "asked"
    asked.touch()
    # Nothing of this environment comes along, nor of the folder that holds the project.
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ASKED": str(asked)}
    done = subprocess.run(
        [python, "-c", VISIT, tmp_path / "empty" / "bin" / "maskwork"],
        cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == {"files": len(static), "tile": 8 * 8, "cells": 21}
    assert asked.read_text() == ""
    say(f"the wheel's explorer: {len(static)} files of {size / 1000:.0f} kB, works offline in an empty environment")
