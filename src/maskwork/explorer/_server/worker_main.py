"""The process that answers: it reads questions from its standard input and writes answers to its standard output."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import threading
from queue import SimpleQueue
from types import ModuleType
from typing import Any, BinaryIO

from ...errors import MaskworkError
from .errors import TooCostly

#: The name of an answer in `ANSWERS`, and its parameters.
Question = tuple[str, Any]


def answer_all(module: str, memory: int, advice: str) -> None:
    """Serve pickled requests from stdin with `module.ANSWERS` until stdin closes.

    Args:
        module: the name of the module that computes; it is imported here.
        memory: the most bytes of this process.
        advice: what to do instead, for the error of that limit.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # From here on standard output is standard error: what a library prints must not come between the answers.
    try:
        os.dup2(2, 1)
    except OSError:  # the server has no standard error, as after `2>&-`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_memory(memory)
    # The browser that draws the answers, on the same machine, goes first.
    if hasattr(os, "nice"):
        os.nice(10)
    answers = importlib.import_module(module)
    questions: SimpleQueue[Question] = SimpleQueue()
    threading.Thread(target=_read, args=(requests, questions), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            replies.write(_reply(answers, questions.get(), memory, advice))
            replies.flush()


def _read(requests: BinaryIO, questions: SimpleQueue[Question]) -> None:
    """Put questions into the queue while others are answered, and end this process as soon as the server has ended."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            questions.put(pickle.load(requests))
    os._exit(0)


def _reply(answers: ModuleType, question: Question, memory: int, advice: str) -> bytes:
    """Return (error, answer), pickled; one of them is None."""
    name, parameters = question
    for _ in range(2):
        try:
            return pickle.dumps((None, answers.ANSWERS[name](parameters)))
        except MaskworkError as error:
            return pickle.dumps((error, None))
        except MemoryError:
            pass  # past this line nothing holds what had been computed
        except Exception as error:  # a mistake of ours must not look like a limit of the caller's
            return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))
        # What is cached of earlier questions may be what took the room: once more without it.
        answers.forget()
        gc.collect()
    error = TooCostly(f"an answer may need {memory >> 20} MiB, got one that needs more; {advice}")
    return pickle.dumps((error, None))


def _limit_memory(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the time limit alone holds there
        return
    # RLIMIT_DATA, not RLIMIT_AS: libraries reserve addresses that they never use.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
