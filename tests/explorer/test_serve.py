"""`maskwork explore` as a person types it, and what is refused before anything is opened."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from helpers.processes import eventually, is_alive

get = partial(httpx2.get, timeout=300, trust_env=False)

COMMAND = [sys.executable, "-m", "maskwork", "explore"]


def explore(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "--no-browser", *arguments], capture_output=True, text=True, check=False)


def test_help_says_what_it_does():
    done = explore("--help")
    assert done.returncode == 0
    assert "See any mask at any length" in done.stdout


def test_a_mask_that_is_none_is_refused_before_anything_is_opened():
    done = explore("causl")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: a mask is made of known atoms, got 'causl'; did you mean 'causal'?\n  causl\n  ^\n"


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = explore("--port", str(port))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port} can't be had" in done.stderr


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("", "empty --host"), ("  ", "empty --host"), ("no such host", "can't be had"),
        ("a" * 80, "can't be had"), ("[::1]", "can't be had"), ("::1::", "can't be had"),
    ],
)  # fmt: skip
def test_a_host_that_is_none_is_said(host: str, said: str):
    done = explore("--host", host)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command while it serves, and the address that it printed; nothing that it says elsewhere is bad news."""
    process = subprocess.Popen(
        [*COMMAND, "--no-browser", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split(" at ")[1].strip()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert errors.strip() in ("", "Aborted!", "interrupted")


posix = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent as POSIX sends it")


@posix
def test_it_serves_until_it_is_interrupted():
    with served("causal & sinks(4)", "--length", "64") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert "?mask=causal+%26+sinks%284%29&length=64#token=" in address
        assert get(address).status_code == 200
    assert process.returncode in (0, 130, -signal.SIGINT)


@posix
@pytest.mark.parametrize(
    ("host", "shown", "names"),
    [
        ("::1", "[::1]", ["[::1]", "localhost"]),
        ("0:0:0:0:0:0:0:1", "[::1]", ["[::1]"]),
        ("LOCALHOST", "LOCALHOST", ["localhost", "127.0.0.1"]),
        ("0.0.0.0", "127.0.0.1", ["127.0.0.1", "localhost", socket.gethostname(), "192.0.2.7"]),
        ("::", "[::1]", ["[::1]", "localhost", socket.gethostname().upper(), "[2001:db8::7]", "192.0.2.7"]),
    ],
)
def test_a_host_is_printed_as_it_can_be_opened(host: str, shown: str, names: list[str]):
    if ":" in host:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with served("--host", host) as (_, address):
        at = urlsplit(address)
        assert address.startswith(f"http://{shown}:{at.port}/#token=")
        assert get(address).status_code == 200
        for name in (*names, "evil.example"):
            answer = get(address, headers={"host": f"{name}:{at.port}"})
            assert answer.status_code == (403 if name == "evil.example" else 200)
        if host == "::" and socket.has_dualstack_ipv6():
            assert get(f"http://127.0.0.1:{at.port}/").status_code == 200


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def slow(layers: int) -> str:
    return f"/api/path?mask=causal%26sliding_window(2)&length=1048576&q=1048575&k=0&layers={layers}"


def asked(address: str, path: str) -> http.client.HTTPConnection:
    """A connection on which this was asked, and nothing read."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", path)
    return connection


def stalled(address: str) -> http.client.HTTPConnection:
    """A connection on which one byte of a hundred was sent."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.putrequest("POST", "/api/model")
    connection.putheader("content-length", "100")
    connection.endheaders(b"{")
    return connection


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up as Linux shows them")


@linux
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_all_that_it_began_though_questions_wait(how: int):
    with served() as (process, address):
        waiting = [asked(address, slow(1024 - at)) for at in range(6)]
        # A body that does not end is a client that would be waited for.
        waiting.append(stalled(address))
        # Answered by the other process: all before it has been taken in.
        assert get(f"{address.split('#')[0]}api/tile?mask=causal&length=4").status_code == 200
        begun = children(process.pid)
        assert len(begun) == 2
        process.send_signal(how)
        process.wait(timeout=300)
        # Those of a server that was killed see for themselves that it is gone.
        eventually(lambda: not any(is_alive(child) for child in begun))
        for connection in waiting:
            connection.close()
    assert process.returncode in {signal.SIGINT: (0, 130, -how)}.get(how, (-how,))


@posix
def test_nothing_is_said_of_who_hangs_up():
    with served() as (_, address):
        asked(address, slow(1024)).close()
        stalled(address).close()
        assert get(f"{address.split('#')[0]}api/health").status_code == 200


@posix
def test_it_answers_though_it_has_no_standard_error():
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "--no-browser"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        base = process.stdout.readline().split(" at ")[1].split("#")[0]
        assert get(f"{base}api/describe?mask=causal&length=8").json()["allowed"] == 36
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
