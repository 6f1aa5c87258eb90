"""Compile `csrc/tiles.c` once for this machine's processor, and store the library; without a compiler there is none.

The environment variable `CC` names the compiler, else gcc, cc or clang is used. `MASKWORK_NATIVE=0` switches compiled
tiles off.
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
# Contractions (a * b + c in one step) are GCC's default. No flag lets the compiler assume that numbers are finite.
_FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=fast", "-fPIC", "-fopenmp")


@cache
def library(double: bool) -> ctypes.CDLL | None:
    """Return the compiled tiles in float32 or float64, None where this machine cannot compile them.

    The first call on a machine compiles, which takes a few seconds; later processes load the stored library.
    """
    if os.environ.get("MASKWORK_NATIVE") == "0" or platform.system() != "Linux":
        return None
    compiler = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "cc", "clang")))), None)
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler, double)))
    except (OSError, subprocess.SubprocessError):
        # A compiler without OpenMP, a folder that cannot be written: tiles in PyTorch's operators do the same work.
        return None


def _compiled(compiler: str, double: bool) -> Path:
    """Return the path of the shared library, which is compiled unless the file exists."""
    flags = [*_FLAGS, "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"]
    flags.append(f"-DDOUBLE={int(double)}")
    # The name contains everything that the library depends on: a home folder that several machines share holds one
    # library for each kind of processor, and a new version of the sources has a new name.
    sources = [path.read_text() for path in sorted(_SOURCE.parent.iterdir()) if path.suffix in (".c", ".h")]
    inputs = [*sources, compiler, *flags, platform.machine(), _processor()]
    path = _folder() / f"tiles-{hashlib.sha256(repr(inputs).encode()).hexdigest()[:24]}.so"
    if not _is_complete(path):
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            compiled, linked = Path(scratch, "tiles.o"), Path(scratch, "tiles.so")
            _run([compiler, *flags, "-c", str(_SOURCE), "-o", str(compiled)])
            # Linked without OpenMP, whose symbols the loader then takes from the process: PyTorch's own copy. Two
            # copies would fight for the processor.
            _run([compiler, "-shared", str(compiled), "-o", str(linked), "-lm"])
            content = linked.read_bytes()
            linked.write_bytes(content + hashlib.sha256(content).digest())
            os.replace(linked, path)
    return path


def _is_complete(path: Path) -> bool:
    """Return whether the file exists and ends in the digest of the rest: to load half a library ends the process."""
    content = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def _processor() -> str:
    """Return the instructions that this processor has: they tell processors apart."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return line
    return platform.processor()


def _folder() -> Path:
    """Return the folder of compiled libraries, which is created on first use."""
    top = default_cache_dir()
    # In the folder for temporary files, anybody may have created it; this process would run their code.
    if top.parent == Path(tempfile.gettempdir()):
        top.mkdir(mode=0o700, exist_ok=True)
        status = top.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(f"others can write to {top}")
    folder = top / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
