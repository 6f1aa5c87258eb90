"""`RunFolder`: everything that a training run leaves behind, in one folder that other commands can open."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import write_atomic
from ..errors import ArgumentError, RunError
from ._checkpoint import load_checkpoint_weights

if TYPE_CHECKING:
    from ..data import Tokenizer
    from ..models import Transformer
    from ._recipe import Recipe

#: The layout of the folder; another number is another maskwork's.
FORMAT = 1

_MARK = "maskwork_run"
_SECTIONS = ("model", "train", "data")


@dataclass(frozen=True)
class RunFolder:
    """One training run on disk; make one with `create` or `open`.

    It holds `config.json`, `tokenizer.json`, `metrics.jsonl` (a line per log), `checkpoint.safetensors` (what
    a resume needs) and, when training is done, `model.safetensors`.

    Attributes:
        path: the folder.
        config: what it was made for: plain values under "model", "train" and "data".

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = RunFolder.create(f"{folder}/run", {"model": {}, "train": {}, "data": {"digest": "2f"}})
    ...     run.log({"step": 10, "loss": 3.5})
    ...     RunFolder.open(run.path).config["data"], run.metrics()
    ({'digest': '2f'}, [{'step': 10, 'loss': 3.5}])
    """

    path: Path
    config: dict[str, Any]

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> RunFolder:
        """A new run in a folder that is empty or not there yet.

        Args:
            config: JSON values under exactly "model", "train" and "data".

        Raises:
            RunError: the folder holds a run or other files, or can't be made.
            ArgumentError: `config` has other sections.
        """
        path = Path(path)
        if sorted(config) != sorted(_SECTIONS):
            raise ArgumentError(
                f"a run's configuration has the sections {', '.join(_SECTIONS)}; found "
                f"{', '.join(config) or 'none'}; give each of them, an empty one as {{}}"
            )
        cls.check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            header = {_MARK: FORMAT, "version": _version()}
            write_atomic(path / "config.json", json.dumps(header | dict(config), indent=2) + "\n")
        except OSError as error:
            raise RunError(
                f"a run needs a folder to write to; '{path}': {error.strerror}; give another --out"
            ) from error
        return cls.open(path)

    @staticmethod
    def check_free(path: str | Path) -> None:
        """Raise `RunError` unless `path` is an empty folder or not there yet."""
        path = Path(path)
        if path.is_file():
            raise RunError(f"a run is a folder; found a file at '{path}'; give another --out")
        entries = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        if "config.json" in entries and _is_run(path):
            raise RunError(
                f"a new run needs a folder of its own; '{path}' already holds a run; continue that with "
                "--resume or give another --out"
            )
        if entries:
            raise RunError(
                f"a new run needs an empty folder; '{path}' holds {entries[0]!r}"
                f"{f' and {len(entries) - 1} more' if len(entries) > 1 else ''}; give another --out"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The run in this folder.

        Raises:
            RunError: there is no folder, it holds no run, its configuration is damaged, or another maskwork
                wrote it.
        """
        path = Path(path)
        if not path.is_dir():
            found = "a file" if path.exists() else "nothing"
            raise RunError(f"a run is a folder that maskwork train made; found {found} at '{path}'; give such a folder")
        values = _read_config(path)
        if not isinstance(values, dict) or _MARK not in values:
            raise RunError(
                f"a run folder's config.json says {_MARK!r}; '{path}' holds another program's; give a run folder"
            )
        if values[_MARK] != FORMAT:
            raise RunError(
                f"this maskwork ({_version()}) reads run folders of format {FORMAT}; '{path}' has format "
                f"{values[_MARK]}, written by maskwork {values.get('version', 'unknown')}; use that version "
                "or train anew"
            )
        for section in _SECTIONS:
            if not isinstance(values.get(section), dict):
                raise RunError(
                    f"a run's config.json holds the tables {', '.join(_SECTIONS)}; in '{path}' {section!r} "
                    "is missing or no table; restore the file from a copy"
                )
        return cls(path, {section: values[section] for section in _SECTIONS})

    @property
    def tokenizer_path(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def model_path(self) -> Path:
        return self.path / "model.safetensors"

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line of metrics. It holds a "step"; wall-clock values stand under "timing".

        Raises:
            ArgumentError: no integer step, or a value that JSON can't hold (NaN and infinity among them).
        """
        if not isinstance(record.get("step"), int):
            raise ArgumentError(f"a line of metrics needs an integer step; found {dict(record)!r}; add one")
        try:
            line = json.dumps(dict(record), allow_nan=False)
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"a line of metrics holds finite numbers and other JSON values; found {dict(record)!r}; mend "
                "what made it"
            ) from error
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics, oldest first; a half-written last line is left out.

        Raises:
            RunError: a line before the last is damaged.
        """
        return [json.loads(line) for line in self._lines()]

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after `step`, and a half-written last one: a resumed run writes them again."""
        if self.metrics_path.exists():
            kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
            write_atomic(self.metrics_path, "".join(f"{line}\n" for line in kept))

    def sync_metrics(self) -> None:
        """Make sure that the lines survive a power cut; done before a checkpoint that says they exist."""
        if self.metrics_path.exists():
            with self.metrics_path.open("rb+") as file:
                os.fsync(file.fileno())

    def recipe(self) -> Recipe:
        """The recipe that the run was begun with.

        Raises:
            RunError: the configuration doesn't describe one.
        """
        from ._recipe import Recipe

        data = {name: self.config["data"].get(name) for name in ("packing",)}
        try:
            return Recipe.from_dict({**self.config, "data": data})
        except ArgumentError as error:
            raise RunError(f"the recipe in '{self.path}/config.json' can't be used: {error}") from error

    def source(self) -> str:
        """Where the run's text was read from.

        Raises:
            RunError: the run doesn't say.
        """
        source = self.config["data"].get("source")
        if not isinstance(source, str):
            raise RunError(f"the run in '{self.path}' doesn't say where its text lies; pass --data")
        return source

    def load_tokenizer(self) -> Tokenizer:
        """The run's tokenizer.

        Raises:
            RunError: there is none.
            DataError: it is damaged.
        """
        from ..data import Tokenizer

        if not self.tokenizer_path.is_file():
            raise RunError(f"a run holds its tokenizer.json; found none in '{self.path}'; restore it or train anew")
        return Tokenizer.from_file(self.tokenizer_path)

    def load_model(self) -> Transformer:
        """The trained model on the CPU; of a run that was broken off, the model of its last checkpoint.

        Raises:
            RunError: there are no weights yet, or the configuration doesn't describe a model.
            CheckpointError: the weights are damaged or of another model.
        """
        from ..models import ModelConfig, Transformer, load_weights

        try:
            model = Transformer(ModelConfig.from_dict(self.config["model"]))
        except ArgumentError as error:
            raise RunError(f"the model in '{self.path}/config.json' can't be built: {error}") from error
        if self.model_path.exists():
            load_weights(model, self.model_path)
        elif self.checkpoint_path.exists():
            load_checkpoint_weights(self.checkpoint_path, model)
        else:
            raise RunError(
                f"a run holds weights after its first save; found none in '{self.path}'; go on with --resume"
            )
        return model

    def _lines(self) -> list[str]:
        if not self.metrics_path.exists():
            return []
        # bytes: a line broken off inside a character is not UTF-8
        *whole, _broken_off = self.metrics_path.read_bytes().split(b"\n")
        for number, line in enumerate(whole, start=1):
            try:
                intact = isinstance(json.loads(line)["step"], int)
            except (ValueError, KeyError, TypeError, RecursionError):
                intact = False
            if not intact:
                raise RunError(
                    f"each line of metrics is a JSON table with a step; line {number} of "
                    f"'{self.metrics_path}' is not; mend or delete the line"
                )
        return [line.decode() for line in whole]


def _read_config(path: Path) -> Any:
    try:
        return json.loads((path / "config.json").read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"a run folder holds config.json; found none in '{path}'; give a folder of maskwork train"
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise RunError(
            f"a run's config.json must be JSON; in '{path}' it is damaged ({error}); restore it from a copy "
            "or train anew"
        ) from error


def _is_run(path: Path) -> bool:
    try:
        values = _read_config(path)
    except RunError:
        return False
    return isinstance(values, dict) and _MARK in values


def _version() -> str:
    from .. import __version__

    return __version__
