"""What the server refuses, and the headers that fence in every answer, refusals and mistakes too."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import maskwork as mw
from maskwork.explorer._notebook import NOTEBOOKS
from maskwork.explorer._server.worker import Worker

DESCRIBE = "/api/describe?mask=causal&length=8"


def assert_fenced(answer: Any) -> None:
    """No page of another origin may read it, hold it in a frame, or slip a script into it."""
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/main.js", 200),
        ("GET", "/nothing.js", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/health", 200),
        ("GET", "/api/openapi.json", 200),
        ("GET", DESCRIBE, 200),
        ("GET", "/api/describe", 422),
        ("POST", DESCRIBE, 405),
        ("OPTIONS", DESCRIBE, 405),
        ("DELETE", "/main.js", 405),
        ("POST", "/api/model", 403),
        ("GET", "/api/tile?mask=causal&length=4&rows=2&columns=2", 200),
    ],
)
def test_every_answer_is_fenced(client: httpx2.Client, method: str, path: str, status: int):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert_fenced(answer)


def test_a_mistake_of_ours_is_a_fenced_500_without_the_insides(client: httpx2.Client, monkeypatch: pytest.MonkeyPatch):
    async def broken(self: Worker, question: str, parameters: Any) -> Any:
        raise RuntimeError("KeyError: 'x'")

    monkeypatch.setattr(Worker, "ask", broken)
    answer = client.get(DESCRIBE)
    assert answer.status_code == 500
    assert "mistake of the explorer's own" in answer.json()["error"]
    assert "Traceback" not in answer.text
    assert_fenced(answer)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LocalHost:1", "[::1]", "[::1]:8000"])
def test_it_answers_to_its_own_names(client: httpx2.Client, host: str):
    assert client.get(DESCRIBE, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.", "[::2]:1", "127.0.0.1:1:2"],
)
def test_another_name_for_this_machine_is_refused(client: httpx2.Client, host: str):
    answer = client.get(DESCRIBE, headers={"host": host})
    assert answer.status_code == 403
    assert "answers to 127.0.0.1" in answer.json()["error"]
    assert_fenced(answer)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://localhost:9",
        "http://127.0.0.1:9",
        "http://127.0.0.1@evil.example",
        "",
        "http://[",
        "http://[::1",
        "//",
        "http:///",
    ],
)
def test_a_page_of_another_origin_is_refused(client: httpx2.Client, origin: str, token: dict[str, str]):
    for answer in (
        client.get(DESCRIBE, headers={"origin": origin}),
        client.post("/api/model", json={}, headers={**token, "origin": origin}),
    ):
        assert answer.status_code == 403
        assert "answers its own page" in answer.json()["error"]
        assert_fenced(answer)


def test_its_own_page_is_answered(client: httpx2.Client):
    assert client.get(DESCRIBE, headers={"origin": str(client.base_url)}).status_code == 200


def sent(address: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    """The answer to a POST whose body may be less, or more, than its headers say."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.putrequest("POST", "/api/model")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_two_of_the_longest_masks_are_taken(client: httpx2.Client):
    mask, other = (
        " | ".join([f"sinks({size:,})".replace(",", "")] * 1700)[:16_000].rsplit(" | ", 1)[0] for size in (1, 2)
    )
    found = client.get("/api/compare", params={"mask": mask, "other": other, "length": 4})
    assert (found.status_code, found.json()["only_right"]) == (200, 4)


def test_a_body_has_an_end(address: str, token: dict[str, str]):
    for length in ("65537", "9" * 30, "9" * 5000):
        status, text = sent(address, {**token, "content-length": length})
        assert status in (400, 413)
        assert status == 400 or "may have 64 KiB" in text
    assert sent(address, {**token, "content-length": "-1"})[0] == 400
    chunk = b"10001\r\n" + b" " * 65_537 + b"\r\n"  # the number is hexadecimal, and the last chunk never comes
    status, text = sent(address, {**token, "transfer-encoding": "chunked"}, chunk)
    assert status == 422
    assert "may have 64 KiB" in text


@pytest.mark.parametrize(
    "path",
    [
        "/../_app.py", "/%2e%2e/_app.py", "/..%2f_app.py", "/%2e%2e%2f_app.py", "/static/../../_app.py", "//etc/passwd",
        "/%2fetc%2fpasswd", "/..\\_app.py", "/main.js%00", "/.%00./_app.py", "/_guard.py", "/../../../../etc/passwd",
        "/%c0%ae%c0%ae/_app.py", "/....//_app.py",
    ],
)  # fmt: skip
def test_nothing_outside_the_pages_files_is_served(address: str, path: str):
    # A client for people would straighten the path before it asks.
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status in (400, 404)
    assert b"import" not in answer.read()
    connection.close()


@pytest.mark.parametrize(
    "query",
    [
        "mask=causal&length=8&length=9", "mask=causal&mask=full", "mask=causal&length=99999999999999999999999",
        "mask=causal&length=1e400", "mask=causal&length=%D9%A3", "mask=causal&length=0x10", "mask=causal&length=+8",
        "mask=causal&length=8%00", "mask=%00", "mask=%FF%FE", "mask=causal%0A%0A", "mask=__import__('os')",
        "mask=causal.__class__", "mask=causal&q_start=-99999999", "mask=sinks(99999999999999999999999999)",
        "mask=document([" + "1," * 9000 + "1])&length=8",
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused_in_words(client: httpx2.Client, query: str):
    answer = client.get(f"/api/describe?{query}")
    assert answer.status_code in (200, 422) if query.endswith("%0A%0A") else answer.status_code == 422
    assert answer.status_code == 200 or answer.json()["error"]


@pytest.mark.parametrize("name", ["rows", "columns", "step", "q0", "k0", "b", "h"])
@pytest.mark.parametrize("value", ["-1", "1.5", "", "NaN", "1e3", "18446744073709551616", "a"])
def test_malformed_tiles_are_refused(client: httpx2.Client, name: str, value: str):
    answer = client.get("/api/tile", params={"mask": "causal", "length": 8, "rows": 2, "columns": 2, name: value})
    if value == "":  # as if it had been left out
        assert answer.status_code == 200
        return
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(f"{name} is a number from")


def test_a_page_is_asked_about_anew_after_an_upgrade(client: httpx2.Client):
    assert client.get("/main.js").headers["cache-control"] == "no-cache"


def test_notebooks_of_this_machine_may_hold_the_page_in_a_frame():
    page = mw.explore(mw.causal(), length=8)
    policy = httpx2.get(page.address, trust_env=False).headers["content-security-policy"]
    ancestors = policy.rsplit("frame-ancestors ", 1)[1].split()
    assert ancestors == NOTEBOOKS.split()
    assert "http://localhost:*" in ancestors
    assert "vscode-webview:" in ancestors
    assert not {"*", "http:", "https:", "http://*", "https://*"} & set(ancestors)
