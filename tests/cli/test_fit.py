"""Training as `demo` and `train` do it: what an interruption leaves is said."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from maskwork.cli import _fit
from maskwork.training import DEFAULT_RECIPE, RunFolder


@pytest.mark.parametrize(("saved", "words"), [(True, "the run is saved, go on"), (False, "nothing was saved yet")])
def test_an_interruption_says_what_is_true(
    saved: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = RunFolder.create(tmp_path / "run", {"model": {}, "train": {}, "data": {}})
    if saved:
        run.checkpoint_path.write_bytes(b"")

    class Interrupted:
        recipe = DEFAULT_RECIPE
        check = new_model = fit = lambda self, *_, **__: None

    class Tokenizer:
        save = staticmethod(lambda path: None)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    experiment = Interrupted()
    experiment.tokenizer = Tokenizer()  # type: ignore[attr-defined]
    experiment.new_model = lambda: torch.nn.Linear(1, 1)  # type: ignore[method-assign]
    experiment.fit = stop  # type: ignore[method-assign]
    monkeypatch.setattr(_fit, "write_atomic", lambda *_: None)
    monkeypatch.setattr(_fit, "_mask_of_one_row", lambda _: type("Drawn", (), {"svg": lambda self: ""})())
    with pytest.raises(Exception) as left:
        _fit.fit(Console(width=200), experiment, run, resume=False)  # type: ignore[arg-type]
    assert getattr(left.value, "exit_code", None) == 130
    assert words in capsys.readouterr().out
