"""`Worker`: a process that answers questions, so that one that takes too long or too much memory can be ended.

    page -- HTTP --> server -- pickles through a pipe --> process: worker_main, one question at a time
                       |                                     |
                       | deadline passed: kill the process   | memory limit reached: the answer is an error
                       v                                     v
                     status 503                            status 503

The server's own process computes nothing and loads no geometry, so it answers other requests meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import anyio.to_thread

from ...errors import ArgumentError
from .. import _limits as limits
from .errors import TooCostly, Unanswered

#: The modules whose `ANSWERS` a process computes; only that process imports them.
MASK_ANSWERS = "maskwork.explorer._answers.mask"
MODEL_ANSWERS = "maskwork.explorer._answers.model"

_ENDING = "questions are answered while the server runs; it is ending; begin it again"


class Worker:
    """One process that answers one question at a time, others in a queue; it is started anew after it had to be killed.

    Cancel `ask` to drop a request: a queued one is skipped, a running one killed after GRACE seconds.
    """

    def __init__(
        self, module: str = MASK_ANSWERS, seconds: float = limits.SECONDS, memory: int = limits.MEMORY,
        advice: str = "shorten the length, or write a simpler mask",
    ) -> None:  # fmt: skip
        """Prepare a process; `start` begins it.

        Args:
            module: the module whose `ANSWERS` the process computes; only that process imports it.
            seconds: after so long an answer is given up.
            memory: the most bytes of the process.
            advice: what to do instead, for the errors of both limits.
        """
        self.module, self.seconds, self.memory, self.advice = module, seconds, memory, advice
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self) -> None:
        """Start the process, so that the first question does not wait for it."""
        self._running()

    async def ask(self, question: str, parameters: Mapping[str, Any]) -> Any:
        """Return what `ANSWERS[question]` returns for these parameters; raise what it raises, or `Unanswered`."""
        if self._waiting >= limits.MAX_ASKING:
            raise Unanswered(f"at most {limits.MAX_ASKING} questions wait here, got one more; ask again later")
        try:
            message = pickle.dumps((question, dict(parameters)))
        except RecursionError:
            raise ArgumentError("values may be nested a few deep, got hundreds; send a flat list") from None
        self._waiting += 1
        try:
            async with self._turn:
                error, answer = await self._answer(self._running(), message)
        finally:
            self._waiting -= 1
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        """End the process for good and refuse every question, also those that wait; any thread may call this."""
        self._closed = True
        process = self._process
        if process is not None and self._turn.locked():
            process.kill()  # the thread that waits for it sees that, and reaps it
        elif process is not None:
            _reap(process)

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process, started if need be."""
        if self._closed:
            raise Unanswered(_ENDING)
        if self._process is not None and self._process.poll() is not None:
            _reap(self._process)
            self._process = None
        if self._process is None:
            # A fresh interpreter, not one of multiprocessing, which would run the user's own script again. None of the
            # server's sockets go along, and in a session of its own it is not sent the Ctrl+C that the server is.
            begin = (
                f"import sys; sys.path[:] = {[entry for entry in sys.path if isinstance(entry, str)]!r}; "
                f"from {__package__}.worker_main import answer_all; "
                f"answer_all({self.module!r}, {self.memory}, {self.advice!r})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        return self._process

    async def _answer(self, process: subprocess.Popen[bytes], message: bytes) -> Any:
        """Return the process's reply, (error, answer); raise `Unanswered` where it sends none in time."""
        # A thread waits for the process: the server goes on answering.
        reply = asyncio.ensure_future(anyio.to_thread.run_sync(_exchange, process, message, abandon_on_cancel=True))
        try:
            await asyncio.wait({reply}, timeout=self.seconds)
        except asyncio.CancelledError:
            # The request was dropped. Wait a little before the process is killed: a new one has nothing cached.
            await asyncio.wait({reply}, timeout=limits.GRACE)
            raise
        finally:
            late = not reply.done()
            if late or reply.result() is None:
                # A late answer would be taken for that to the next question.
                process.kill()
                self._process = None
        exchanged = await reply
        if exchanged is not None and not late:
            return exchanged
        if self._closed:
            raise Unanswered(_ENDING)
        if late:
            raise TooCostly(f"an answer may take {self.seconds:g} seconds, got one that takes longer; {self.advice}")
        code = process.returncode
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise Unanswered(f"answers come from a process of their own, got none: its process ended ({ending}); ask again")


def _exchange(process: subprocess.Popen[bytes], message: bytes) -> Any:
    """Send a question and return the reply of the process, None if it ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(message)
        process.stdin.flush()
        return pickle.load(process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limits.GRACE)  # it is ending: to kill it would hide how
        _reap(process)
        return None


def _reap(process: subprocess.Popen[bytes]) -> None:
    """End a process, wait for that, and close its pipes."""
    # The pipe may still hold what the process has not read.
    with contextlib.suppress(BrokenPipeError), process:
        process.kill()
