"""The classification example: it learns its task, and the side of the padding changes nothing."""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_it_runs_and_only_the_right_reading_is_right(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    import sequence_classification

    sequence_classification.main()
    output = capsys.readouterr().out
    right, left, mistaken = (float(share) for share in re.findall(r"([\d.]+)%", output))
    assert right == left >= 99
    assert mistaken < 70
    assert "logits differ by at most 0" in output
