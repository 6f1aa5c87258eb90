"""The wheel, as published: in an empty environment its explorer works offline."""

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

#: Every Python of the environment runs this code at its start: it logs and refuses connections to other machines.
OFFLINE = """
import os, socket
_connect, _find = socket.socket.connect, socket.getaddrinfo
def _refuse_remote(host):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        with open(os.environ["REMOTE_HOSTS"], "a") as log:
            log.write(f"{host}\\n")
        raise OSError(f"offline: {host}")
def connect(self, address):
    if isinstance(address, tuple):
        _refuse_remote(address[0])
    return _connect(self, address)
def getaddrinfo(host, *args, **named):
    _refuse_remote(host)
    return _find(host, *args, **named)
socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
"""

#: A visit by the standard library alone: every file of the page, and one answer of each kind.
VISIT = """
import json, posixpath, re, subprocess, sys, urllib.request
server = subprocess.Popen([sys.argv[1], "explore", "--no-browser", "causal"], stdout=subprocess.PIPE, text=True)
try:
    address = re.search(r"(http://127\\.0\\.0\\.1:\\d+/)\\?mask=causal#token=(\\S+)", server.stdout.readline())
    get = lambda path: urllib.request.urlopen(address[1] + path).read()
    visited, pending = set(), {""}
    while pending:
        name = pending.pop()
        visited.add(name)
        text = get(name).decode()
        links = re.findall(r'(?:src|href|from) ?=?"((?:\\.{1,2}/)*(?:[\\w-]+/)*[\\w-]+\\.\\w+)"', text)
        if name == "panels/panels.js":
            links += [f"{panel}.js" for panel in re.findall(r'^  \\["(\\w+)", "', text, re.M)]
        pending.update(posixpath.normpath(posixpath.join(posixpath.dirname(name), link)) for link in links)
        pending -= visited
    tile = get("api/tile?mask=causal&length=8&rows=8&columns=8")
    body = json.dumps({"path": "example:no-mask", "prompt": "offline", "mask": "causal"}).encode()
    request = urllib.request.Request(address[1] + "api/model", body, {"x-maskwork-token": address[2]})
    model = json.load(urllib.request.urlopen(request))
    print(json.dumps({"files": len(visited), "tile": len(tile), "cells": model["forbidden"]["cells"]}))
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
        static = [entry for entry in archive.infolist() if "/explorer/static/" in entry.filename]
    size = sum(entry.file_size for entry in static)
    assert size < 300_000
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    python = tmp_path / "empty" / "bin" / "python"
    constraints = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, "--python", python, "install", "--no-compile", *constraints, f"{wheel}[explore]"], check=True)
    (site,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    (site / "offline.py").write_text(OFFLINE)
    (site / "offline.pth").write_text("import offline\n")
    remote_hosts = tmp_path / "remote_hosts"
    remote_hosts.touch()
    # The new environment sees neither this environment nor the folder of the project.
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "REMOTE_HOSTS": str(remote_hosts)}
    done = subprocess.run(
        [python, "-c", VISIT, tmp_path / "empty" / "bin" / "maskwork"],
        cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == {"files": len(static), "tile": 8 * 8, "cells": 21}
    assert remote_hosts.read_text() == ""
    say(f"the wheel's explorer: {len(static)} files of {size / 1000:.0f} kB, works offline in an empty environment")
