"""The loss curve as a picture: training loss, and validation against what zlib and lzma make of the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from .._shared.numbers import is_number
from ..data import temporary_beside

# Line styles and markers differ as well as colours, so that the picture reads without colour.
_BASELINES = {"zlib -9": ("#7b8794", "--"), "lzma": ("#a05195", ":")}


def draw_loss_curve(
    console: Console, metrics: Sequence[Mapping[str, Any]], bits_per_byte: Mapping[str, float], path: Path
) -> None:
    """Write a PNG; without matplotlib, an optional dependency, say so instead."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        console.print("no loss curve drawn: that needs matplotlib, pip install 'maskwork[viz]'")
        return
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = [(m["step"], m["loss"]) for m in metrics if is_number(m.get("loss"))]
    left.plot(*zip(*losses, strict=True), color="#1d4e89", linewidth=1.2)
    left.set(xlabel="step", ylabel="nats per token", title="Training loss")

    # The curve is of a sample of the validation side, the last point of all of it.
    points = [(m["step"], bits) for m in metrics if (bits := _validated_bits(m)) is not None]
    right.plot(*zip(*points, strict=True), color="#1d4e89", marker="o", markersize=4, label="maskwork (sample)")
    last = max((m["step"] for m in metrics), default=0)
    right.plot(
        last, bits_per_byte["maskwork"], color="#d1495b", marker="D", linestyle="none",
        label=f"maskwork, all bytes: {bits_per_byte['maskwork']:.3f}",
    )  # fmt: skip
    for name, (color, style) in _BASELINES.items():
        if name not in bits_per_byte:
            continue  # a Python without lzma
        right.axhline(bits_per_byte[name], color=color, linestyle=style, label=f"{name}: {bits_per_byte[name]:.3f}")
    right.set(xlabel="step", ylabel="bits per byte", title="Validation")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    with temporary_beside(path) as temporary:
        figure.savefig(temporary)


def _validated_bits(record: Mapping[str, Any]) -> float | None:
    """Return the bits per byte of a line of metrics; None where there are none, or where the file was edited."""
    validation = record.get("validation")
    bits = validation.get("bits_per_byte") if isinstance(validation, Mapping) else None
    return float(bits) if is_number(bits) else None
