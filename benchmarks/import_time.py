"""Time `import maskwork; maskwork.parse(...)` in a fresh process, and check that neither imports torch.

Each run is a new interpreter, which reports the time of the import and the parse; the figure is the median.
`import numpy` alone, measured in the same way, is printed beside it, because NumPy takes most of that time.

    python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

LIMIT = 0.3
OURS = "import maskwork; maskwork.parse('causal & sliding_window(8)')"


def main() -> None:
    ours, torch_seen = _median(OURS)
    numpy, _ = _median("import numpy")
    print(f"{'what':<60} {'median s':>9}")
    print(f"{OURS:<60} {ours:>9.3f}")
    print(f"{'import numpy':<60} {numpy:>9.3f}")
    print(f"torch in sys.modules: {torch_seen}; limit {LIMIT} s")
    raise SystemExit(0 if ours < LIMIT and not torch_seen else 1)


def _median(statement: str, runs: int = 9) -> tuple[float, bool]:
    code = f"import sys, time; t = time.perf_counter(); {statement}; s = time.perf_counter() - t"
    code += "; print(s, 'torch' in sys.modules)"
    seconds: list[float] = []
    torch_seen = False
    for _ in range(runs):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(out[0]))
        torch_seen |= out[1] == "True"
    return statistics.median(seconds), torch_seen


if __name__ == "__main__":
    main()
