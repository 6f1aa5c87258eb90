"""The command line, run in this process as a shell would run it."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from maskwork.cli.main import main


@dataclass(frozen=True)
class Done:
    """A command that ended, run in this process: torch takes seconds to import."""

    returncode: int
    stdout: str
    stderr: str


def maskwork(*arguments: object, cwd: Path, stdin: str = "") -> Done:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["maskwork", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.setenv("MASKWORK_CACHE", str(cwd / "cache"))
        patch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as exit_:
            main()
    texts = [stream.buffer.getvalue().decode() for stream in (out, err) if stream.flush() is None]
    return Done(int(exit_.value.code or 0), *texts)
