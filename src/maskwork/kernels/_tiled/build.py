"""`native/tiles.c`, compiled once for this machine's processor and kept; without a C compiler there is none.

The compiler is the one that `CC` names, else gcc, cc or clang. `MASKWORK_NATIVE=0` switches it off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ..._shared.folders import default_cache_dir

_SOURCE = Path(__file__).with_name("csrc") / "tiles.c"
# Contractions (a * b + c in one step) are what GCC takes by default; nothing here assumes that numbers are finite.
_FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=fast", "-fPIC", "-fopenmp")


@cache
def library(double: bool) -> ctypes.CDLL | None:
    """The compiled tiles in float32 or float64, or None where they cannot be had; both take a few seconds once."""
    if os.environ.get("MASKWORK_NATIVE") == "0" or platform.system() != "Linux":
        return None
    compiler = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "cc", "clang")))), None)
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler, double)))
    except (OSError, subprocess.SubprocessError):
        # A compiler that lacks OpenMP, a folder that cannot be written: tiles made of PyTorch's operators do it all.
        return None


def _compiled(compiler: str, double: bool) -> Path:
    """The shared library, made unless it is there already."""
    flags = [*_FLAGS, "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"]
    flags.append(f"-DDOUBLE={int(double)}")
    # a home that several machines share holds one for each kind of processor
    sources = [path.read_text() for path in sorted(_SOURCE.parent.iterdir()) if path.suffix in (".c", ".h")]
    about = [*sources, compiler, *flags, platform.machine(), _processor()]
    path = _folder() / f"tiles-{hashlib.sha256(repr(about).encode()).hexdigest()[:24]}.so"
    if not _whole(path):
        with tempfile.TemporaryDirectory(dir=path.parent) as here:
            made, linked = Path(here, "tiles.o"), Path(here, "tiles.so")
            _run([compiler, *flags, "-c", str(_SOURCE), "-o", str(made)])
            # OpenMP is left open and found in the process: PyTorch's own, since two would fight for the processor
            _run([compiler, "-shared", str(made), "-o", str(linked), "-lm"])
            content = linked.read_bytes()
            linked.write_bytes(content + hashlib.sha256(content).digest())
            os.replace(linked, path)
    return path


def _whole(path: Path) -> bool:
    """Whether the library is there with its digest behind it: to load half of one would end the process."""
    content = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def _processor() -> str:
    """What tells processors apart: the instructions they have."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return line
    return platform.processor()


def _folder() -> Path:
    top = default_cache_dir()
    if top.parent == Path(tempfile.gettempdir()):  # where anybody may have made it, and what lies in it is run
        top.mkdir(mode=0o700, exist_ok=True)
        about = top.lstat()
        if about.st_uid != os.getuid() or about.st_mode & 0o022:
            raise PermissionError(f"others can write to {top}")
    folder = top / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
