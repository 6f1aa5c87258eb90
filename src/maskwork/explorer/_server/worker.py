"""`Worker`: a process that answers questions, so that one that takes too long or too much can be ended."""

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


class Worker:
    """One process, one question at a time, the others in a queue; it is begun anew after one that had to be given up.

    Who no longer wants an answer cancels `ask`: its question is then skipped, or ended if it is not answered soon.
    """

    def __init__(
        self, module: str = MASK_ANSWERS, seconds: float = limits.SECONDS, memory: int = limits.MEMORY,
        mend: str = "shorten the length, or write a simpler mask",
    ) -> None:  # fmt: skip
        """Answer by the `ANSWERS` of `module`, imported in the process alone; `mend` is said with a limit."""
        self.module, self.seconds, self.memory, self.mend = module, seconds, memory, mend
        self._turn = asyncio.Lock()
        self._asking = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin the process, so that the first question does not wait for it."""
        self._started()

    async def ask(self, question: str, parameters: Mapping[str, Any]) -> Any:
        """What `ANSWERS[question]` says; raises what it raises, and `Unanswered`."""
        if self._asking >= limits.MAX_ASKING:
            raise Unanswered(f"at most {limits.MAX_ASKING} questions wait here; this is one more; ask again later")
        try:
            asked = pickle.dumps((question, dict(parameters)))
        except RecursionError:
            raise ArgumentError("values may be nested a few deep; found hundreds; send a flat list") from None
        self._asking += 1
        try:
            async with self._turn:
                error, answer = await self._exchanged(self._started(), asked)
        finally:
            self._asking -= 1
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        """End the process and refuse what is asked, also what waits already. For good; any thread may do it."""
        self._closed = True
        process = self._process
        if process is not None and self._turn.locked():
            process.kill()  # the thread that waits for it sees that, and reaps it
        elif process is not None:
            _reap(process)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise Unanswered("questions are answered while the server runs; it is ending; begin it again")
        if self._process is not None and self._process.poll() is not None:
            _reap(self._process)
            self._process = None
        if self._process is None:
            # A fresh interpreter, not one of multiprocessing, which would run the user's own script again. None of the
            # server's sockets go along, and in a session of its own it is not sent the Ctrl+C that the server is.
            begin = (
                f"import sys; sys.path[:] = {[entry for entry in sys.path if isinstance(entry, str)]!r}; "
                f"from {__package__}.worker_main import answer_all; "
                f"answer_all({self.module!r}, {self.memory}, {self.mend!r})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        return self._process

    async def _exchanged(self, process: subprocess.Popen[bytes], asked: bytes) -> Any:
        # A thread waits for the process: the server goes on answering.
        reply = asyncio.ensure_future(anyio.to_thread.run_sync(_exchange, process, asked, abandon_on_cancel=True))
        try:
            await asyncio.wait({reply}, timeout=self.seconds)
        except asyncio.CancelledError:
            # Nobody wants the answer. What is nearly done is waited for: another process would have nothing kept.
            await asyncio.wait({reply}, timeout=limits.GRACE)
            raise
        finally:
            late = not reply.done()
            if late or reply.result() is None:
                # A late answer would be taken for that to the next question.
                process.kill()
                self._process = None
        found = await reply
        if found is not None and not late:
            return found
        if self._closed:
            raise Unanswered("questions are answered while the server runs; it is ending; begin it again")
        if late:
            raise TooCostly(f"an answer may take {self.seconds:g} seconds; this one takes longer; {self.mend}")
        code = process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise Unanswered(f"answers come from a process of their own; its process ended ({how}); ask again")


def _exchange(process: subprocess.Popen[bytes], asked: bytes) -> Any:
    """What the process says to a question, None if it ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(asked)
        process.stdin.flush()
        return pickle.load(process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limits.GRACE)  # it is ending: to kill it would hide how
        _reap(process)
        return None


def _reap(process: subprocess.Popen[bytes]) -> None:
    """End a process, wait for that, and close what leads to it."""
    # It may not have read all that it was asked.
    with contextlib.suppress(BrokenPipeError), process:
        process.kill()
