"""The process that answers: what asks too much of it is given up, and the next question is answered."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from maskwork.errors import MaskworkError, ParseError
from maskwork.explorer import _limits as limits
from maskwork.explorer._server import worker as _worker
from maskwork.explorer._server.errors import TooCostly, Unanswered
from maskwork.explorer._server.worker import Worker

CAUSAL = {"mask": "causal", "length": "8"}
#: It takes long: layer after layer is followed.
SLOW = {"mask": "causal & sliding_window(2)", "length": str(limits.MAX_LENGTH), "layers": "1024",
        "q": str(limits.MAX_LENGTH - 1), "k": "0"}  # fmt: skip

linux = pytest.mark.skipif(sys.platform != "linux", reason="as Linux counts memory and shows processes")


def running(use: Callable[[Worker], Awaitable[None]], **how: Any) -> None:
    """Use a worker within an event loop, and end it."""

    async def used() -> None:
        worker = Worker(**how)
        try:
            await asyncio.wait_for(use(worker), 300)  # only what never ends fails by it
        finally:
            worker.close()

    asyncio.run(used())


def test_it_answers_and_its_errors_are_those_of_the_question():
    async def use(worker: Worker) -> None:
        worker.start()
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36
        with pytest.raises(ParseError, match=r"did you mean 'causal'\?\n  causl\n  \^"):
            await worker.ask("describe", {"mask": "causl"})
        tile = await worker.ask("tile", {**CAUSAL, "rows": "1", "columns": "1", "step": "8"})
        assert tile == bytes([36])

    running(use)


def test_what_takes_too_long_is_given_up_and_the_next_question_is_answered():
    async def use(worker: Worker) -> None:
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36
        before = worker._process
        worker.seconds = 1e-9
        with pytest.raises(TooCostly, match=r"may take 1e-09 seconds, got one that takes longer; shorten the length"):
            await worker.ask("describe", {"mask": "causal", "length": str(limits.MAX_LENGTH)})
        worker.seconds = limits.SECONDS
        # A late answer would be taken for this one's.
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36
        assert worker._process is not before

    running(use)


@linux
def test_what_needs_too_much_memory_is_given_up_and_the_next_question_is_answered():
    async def use(worker: Worker) -> None:
        with pytest.raises(TooCostly, match="may need 160 MiB"):
            await worker.ask("describe", {"mask": "dilated(40, 7)", "length": str(limits.MAX_LENGTH)})
        before = worker._process
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36
        assert worker._process is before

    running(use, memory=160 << 20)


@linux
def test_what_is_kept_of_earlier_questions_makes_room():
    """Each geometry alone takes a fifth of the memory, and eight are kept."""

    async def use(worker: Worker) -> None:
        worker.seconds = 300
        for seed in range(8):
            mask = f"random_blocks(20, 64, 4096, {seed})"
            assert (await worker.ask("describe", {"mask": mask, "length": str(1 << 18)}))["allowed"] > 0

    running(use, memory=256 << 20)


@pytest.mark.parametrize(("question", "parameters"), [("no such question", CAUSAL), ("describe", {"mask": 3})])
def test_a_mistake_of_ours_does_not_look_like_a_limit_of_the_askers(question: str, parameters: dict[str, Any]):
    async def use(worker: Worker) -> None:
        with pytest.raises(RuntimeError, match=r"^(KeyError|AttributeError): ") as caught:
            await worker.ask(question, parameters)
        assert not isinstance(caught.value, Unanswered)
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36

    running(use)


def test_every_error_comes_through_the_pipe():
    def kinds(of: type[MaskworkError]) -> Iterator[type[MaskworkError]]:
        yield of
        for kind in of.__subclasses__():
            yield from kinds(kind)

    for kind in kinds(MaskworkError):
        error = kind("a line")
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back)) == (kind, str(error))


def test_a_process_that_was_ended_is_begun_anew():
    async def use(worker: Worker) -> None:
        worker.start()
        assert worker._process is not None
        worker._process.kill()
        worker._process.wait()
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36

    running(use)


@linux
def test_an_end_that_no_limit_made_is_not_said_to_be_one():
    async def use(worker: Worker) -> None:
        await worker.ask("describe", CAUSAL)
        assert worker._process is not None
        slow = asyncio.ensure_future(worker.ask("path", SLOW))
        await asyncio.sleep(0.05)
        os.kill(worker._process.pid, signal.SIGSEGV)
        with pytest.raises(Unanswered, match=rf"its process ended \(signal {signal.SIGSEGV:d}\); ask again") as caught:
            await slow
        assert not isinstance(caught.value, TooCostly)
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36

    running(use)


def test_a_process_that_cannot_begin_says_how_it_ended(capfd: pytest.CaptureFixture[str]):
    async def use(worker: Worker) -> None:
        with pytest.raises(Unanswered, match=r"its process ended \(exit code 1\)"):
            await worker.ask("describe", CAUSAL)

    running(use, module="_no_such_module")
    assert "_no_such_module" in capfd.readouterr().err


def test_who_has_left_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "GRACE", 0.01)
    real, sent = _worker._exchange, []

    def noted(process: Any, asked: bytes) -> Any:
        sent.append(pickle.loads(asked)[0])
        return real(process, asked)

    monkeypatch.setattr(_worker, "_exchange", noted)

    async def use(worker: Worker) -> None:
        worker.seconds = 3600
        slow = [asyncio.ensure_future(worker.ask("path", SLOW)) for _ in range(5)]
        quick = asyncio.ensure_future(worker.ask("describe", CAUSAL))
        await asyncio.sleep(0)
        before = worker._process
        for asked in slow:
            asked.cancel()
        assert (await quick)["allowed"] == 36
        assert all(asked.cancelled() for asked in slow)
        # The first was ended, the others were never begun.
        assert worker._process is not before
        assert sent == ["path", "describe"]

    running(use)


def test_what_is_nearly_done_is_waited_for_though_its_asker_has_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "GRACE", 3600)

    async def use(worker: Worker) -> None:
        await worker.ask("describe", CAUSAL)
        before = worker._process
        left = asyncio.ensure_future(worker.ask("describe", {"mask": "full", "length": str(limits.MAX_LENGTH)}))
        await asyncio.sleep(0.01)
        left.cancel()
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36
        assert worker._process is before

    running(use)


def test_a_queue_has_an_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_ASKING", 3)

    async def use(worker: Worker) -> None:
        asked = [asyncio.ensure_future(worker.ask("describe", CAUSAL)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unanswered, match="at most 3 questions wait here"):
            await worker.ask("describe", CAUSAL)
        assert [answer["allowed"] for answer in await asyncio.gather(*asked)] == [36] * 3
        assert (await worker.ask("describe", CAUSAL))["allowed"] == 36

    running(use)


def test_a_closed_one_refuses_what_waits_and_what_comes():
    async def use(worker: Worker) -> None:
        asked = [asyncio.ensure_future(worker.ask("path", SLOW)) for _ in range(3)]
        await asyncio.sleep(0)
        worker.close()
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(error, Unanswered)
            assert "it is ending" in str(error)
        with pytest.raises(Unanswered, match="it is ending"):
            await worker.ask("describe", CAUSAL)

    running(use)
