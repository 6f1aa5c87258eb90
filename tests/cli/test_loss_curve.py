"""The picture of the loss, also of strange metrics and without lzma."""

from pathlib import Path

from rich.console import Console

from maskwork.cli._loss_curve import draw_loss_curve


def test_a_loss_curve_without_lzma_and_with_strange_metrics(tmp_path: Path):
    metrics = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": "low"},
        {"step": 2, "validation": 5},
        {"step": 2, "validation": {"bits_per_byte": None}},
    ]
    draw_loss_curve(Console(), metrics, {"maskwork": 2.0, "zlib -9": 3.0}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 0
