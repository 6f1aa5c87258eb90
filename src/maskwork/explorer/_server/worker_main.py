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


def answer_all(module: str, memory: int, mend: str) -> None:
    """Answer by the `ANSWERS` of `module` until who asks is gone; `mend` is said with the limit of memory."""
    asked, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    try:
        os.dup2(2, 1)  # what a library prints is no answer
    except OSError:  # the server has no standard error, as after `2>&-`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_memory(memory)
    # The browser that draws the answers, on the same machine, goes first.
    if hasattr(os, "nice"):
        os.nice(10)
    answers = importlib.import_module(module)
    questions: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(asked, questions), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            told.write(_answered(answers, questions.get(), memory, mend))
            told.flush()


def _read(asked: BinaryIO, questions: SimpleQueue[Any]) -> None:
    """Questions are read while others are answered: so the end of the server, however it ended, is seen at once."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            questions.put(pickle.load(asked))
    os._exit(0)


def _answered(answers: ModuleType, asked: tuple[str, Any], memory: int, mend: str) -> bytes:
    """Error and answer, pickled, one of them None."""
    question, parameters = asked
    for _ in range(2):
        try:
            return pickle.dumps((None, answers.ANSWERS[question](parameters)))
        except MaskworkError as error:
            return pickle.dumps((error, None))
        except MemoryError:
            pass  # past this line nothing holds what the question had come to
        except Exception as error:  # a mistake of ours must not look like a limit of the asker's
            return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))
        # What is kept of earlier questions may be what there was no room beside.
        answers.forget()
        gc.collect()
    error = TooCostly(f"an answer may need {memory >> 20} MiB; this one needs more; {mend}")
    return pickle.dumps((error, None))


def _limit_memory(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the time limit alone holds there
        return
    # RLIMIT_DATA, not RLIMIT_AS: libraries reserve addresses that they never use.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
