"""Threads are settled before torch is imported, and only where nobody has said otherwise."""

import pytest

from maskwork.cli import _threads


@pytest.mark.parametrize(("share", "expected"), [(0.0, None), (0.1, None), (0.5, "1000"), (1.0, "1000")])
def test_a_busy_machine_gets_a_short_spin(monkeypatch: pytest.MonkeyPatch, share: float, expected: str | None):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "x")  # so that it is put back afterwards
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr(_threads, "_others_share", lambda: share)
    _threads.settle_threads()
    assert _threads.os.environ.get("GOMP_SPINCOUNT") == expected


def test_what_the_environment_says_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_threads, "_others_share", lambda: 1.0)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    _threads.settle_threads()
    assert _threads.os.environ["GOMP_SPINCOUNT"] == "7"


def test_the_share_of_others_is_a_share(monkeypatch: pytest.MonkeyPatch):
    assert 0.0 <= _threads._others_share(0.02) <= 1.0
    ticks = iter([[0, 0, 0, 0, 0, 0, 0, 0], [30, 0, 10, 50, 0, 0, 0, 10]])
    monkeypatch.setattr(_threads, "_ticks", lambda: next(ticks))
    assert _threads._others_share(0.0) == 0.5
