"""The table at the end of training: how well the model predicts, beside general-purpose compressors."""

from __future__ import annotations

from rich.console import Console

from ._console import duration, table
from ._fit import Fitted


def print_summary(console: Console, fitted: Fitted) -> None:
    """Bits per byte on the same validation bytes, and where everything lies."""
    result = fitted.result
    scores = table("Validation, bits per byte (lower is better)", "what", "bits per byte")
    for name, bits in sorted(fitted.bits_per_byte.items(), key=lambda item: item[1]):
        scores.add_row(name, f"{bits:.3f}")
    console.print(scores)
    console.print(
        f"{result.steps} steps, {result.tokens:,} tokens in {duration(result.seconds)}"
        + (f" (resumed at step {result.resumed_from})" if result.resumed_from else "")
    )
    run = fitted.run.path
    console.print(f"run folder {run}: {', '.join(sorted(path.name for path in run.iterdir()))}")
