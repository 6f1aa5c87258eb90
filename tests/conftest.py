"""Settings of all tests: one thread a process, no deadlines, and lines printed at the end of the run."""

import os
import signal

import pytest
import torch
from hypothesis import settings

# A shell that starts the tests in the background makes them ignore Ctrl-C, and so do the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests' tensors are small: more threads are slower, here and in the processes that tests start.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: nothing in a test depends on wall time. Derandomised: a run that passed passes again.
settings.register_profile("maskwork", deadline=None, derandomize=True)
settings.load_profile("maskwork")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `cuda`, with a reason, if there is no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device"))


@pytest.fixture
def say(request: pytest.FixtureRequest):
    """Return a function that prints a line at the end of the run despite capturing, for scores in the log."""
    # Properties of a report also arrive from the worker process that ran the test.
    return lambda line: request.node.user_properties.append(("said", line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, line in report.user_properties:
                    if name == "said":
                        terminalreporter.write_line(line)
