"""The guard alone: hosts by name and by address, and the length of a query."""

from __future__ import annotations

from typing import Any

import pytest

from maskwork.web import Guard

LIMITS = {"max_query": 100_096, "max_body": 64 << 10}


def status_of(host: str, **how: Any) -> int:
    """What a guard of the names `box` and `localhost` says to this one, 200 where it has nothing against it."""

    async def never(scope: Any, receive: Any, send: Any) -> None: ...

    guard = Guard(never, ["Box", "localhost"], **LIMITS, **how)
    refused = guard._refused({"type": "http", "headers": [(b"host", host.encode())], "query_string": b""})
    return 200 if refused is None else refused.status_code


@pytest.mark.parametrize("host", ["192.168.1.5:80", "10.0.0.1", "[2001:db8::1]:8123", "[::1]"])
def test_addresses_are_names_where_all_are_listened_on(host: str):
    assert status_of(host, any_address=True) == 200
    assert status_of(host) == 403


@pytest.mark.parametrize("host", ["box:1", "BOX", "localhost"])
def test_names_are_compared_in_lower_case(host: str):
    assert status_of(host, any_address=True) == status_of(host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "", "1.2.3.4.evil.example", "1.2.3", "::1", "[1.2.3.4]", "[::1", "[evil]", "1.2.3.4:1:2"]
)
def test_what_is_no_address_is_refused_where_all_are_listened_on(host: str):
    assert status_of(host, any_address=True) == 403


def test_a_query_has_an_end():
    # Asked directly: uvicorn hangs up on a line that is longer than its own limit, which is about the same.
    async def never(scope: Any, receive: Any, send: Any) -> None: ...

    guard = Guard(never, ["127.0.0.1"], **LIMITS)
    for length, refused in ((100_096, False), (100_097, True)):
        scope = {"type": "http", "headers": [(b"host", b"127.0.0.1")], "query_string": b"a" * length}
        answer = guard._refused(scope)
        assert (answer is not None) == refused
        assert answer is None or answer.status_code == 413
