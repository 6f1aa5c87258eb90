"""`maskwork show` as a person types it: drawings of any length, and masks that are none."""

from pathlib import Path

from helpers.command_line import maskwork, refuses


def test_show(work: Path):
    done = maskwork("show", "causal & sliding_window(8)", "--length", "32", "--svg", "m.svg", cwd=work)
    assert done.returncode == 0
    assert "228 of 1,024 pairs" in done.stdout
    assert (work / "m.svg").read_text().startswith("<svg")
    second = maskwork("show", "sliding_window([2, 4])", "--length", "8", "--head", "1", cwd=work)
    assert "26 of 64 pairs" in second.stdout
    long = maskwork("show", "causal & sliding_window(8)", "--length", "1000000", cwd=work)
    assert long.returncode == 0
    assert max(map(len, long.stdout.splitlines())) <= 80


def test_bad_masks(work: Path):
    refuses(maskwork("show", "causal & slidingwindow(3)", cwd=work), "did you mean 'sliding_window'", "^")
    refuses(maskwork("show", "causal & (", cwd=work), "^")
    refuses(maskwork("show", "document([3, 4])", "--length", "9", cwd=work), "7", "9")
