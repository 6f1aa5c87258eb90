"""The loss curve as a picture: training loss, and validation against what zlib and lzma make of the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

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
    losses = [(m["step"], m["loss"]) for m in metrics if "loss" in m]
    left.plot(*zip(*losses, strict=True), color="#1d4e89", linewidth=1.2)
    left.set(xlabel="step", ylabel="nats per token", title="Training loss")

    points = [(m["step"], m["validation"]["bits_per_byte"]) for m in metrics if "validation" in m]
    right.plot(*zip(*points, strict=True), color="#1d4e89", marker="o", markersize=4, label="maskwork (sample)")
    right.plot(
        points[-1][0], bits_per_byte["maskwork"], color="#d1495b", marker="D", linestyle="none",
        label=f"maskwork, all bytes: {bits_per_byte['maskwork']:.3f}",
    )  # fmt: skip
    for name, (color, style) in _BASELINES.items():
        right.axhline(bits_per_byte[name], color=color, linestyle=style, label=f"{name}: {bits_per_byte[name]:.3f}")
    right.set(xlabel="step", ylabel="bits per byte", title="Validation")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    with temporary_beside(path) as temporary:
        figure.savefig(temporary)
