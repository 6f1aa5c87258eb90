"""`RunFolder`: the files of a training run, in one folder that other commands can open."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from .._shared.checksum import tensors_crc32
from .._shared.files import write_atomic
from .._shared.numbers import at_least, integer, is_integer
from ..errors import ArgumentError, CheckpointError, RunError
from ._checkpoint import load_checkpoint_weights

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    from ..data import Tokenizer
    from ..hf import OpenedModel
    from ..models import Transformer
    from ._recipe import Recipe

#: The layout of the folder; another maskwork may write another number.
FORMAT = 1

#: Where model.safetensors holds the checksum of its tensors, in its metadata: safetensors has none of its own.
_WEIGHTS_CRC32 = "maskwork_weights_crc32"

_MARK = "maskwork_run"
_SECTIONS = ("model", "train", "data")


@dataclass(frozen=True)
class RunFolder:
    """One training run on disk, made by `create` or `open`.

        config.json               the configuration: tables "model", "train" and "data"
        tokenizer.json            the tokenizer
        metrics.jsonl             one JSON table per line
        checkpoint.safetensors    what a resume needs
        model.safetensors         the weights, when training is done

    Attributes:
        path: the folder.
        config: plain values under "model", "train" and "data".

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
        """Create a new run in a folder that is empty or does not exist yet.

        Args:
            path: the folder.
            config: JSON values under exactly "model", "train" and "data".

        Raises:
            RunError: the folder holds a run or other files, or can't be created.
            ArgumentError: `config` has other sections.
        """
        path = Path(path)
        if sorted(config) != sorted(_SECTIONS):
            raise ArgumentError(
                f"a run's configuration must have the sections {', '.join(_SECTIONS)}, got "
                f"{', '.join(config) or 'none'}; pass an empty section as {{}}"
            )
        cls.check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            header = {_MARK: FORMAT, "version": _version()}
            write_atomic(path / "config.json", json.dumps(header | dict(config), indent=2) + "\n")
        except OSError as error:
            raise RunError(
                f"a run needs a folder to write to, got '{path}': {error.strerror}; give another --out"
            ) from error
        return cls.open(path)

    @staticmethod
    def check_free(path: str | Path) -> None:
        """Raise `RunError` unless `path` is an empty folder or does not exist yet."""
        path = Path(path)
        if path.is_file():
            raise RunError(f"a run must be a folder, got a file at '{path}'; give another --out")
        # A folder that exists and is empty is free; a run, or any other file, is never overwritten.
        entries = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        if "config.json" in entries and _is_run(path):
            raise RunError(
                f"a new run needs an empty folder, got '{path}', which already holds a run; continue that run with "
                "--resume or give another --out"
            )
        if entries:
            raise RunError(
                f"a new run needs an empty folder, got '{path}', which holds {entries[0]!r}"
                f"{f' and {len(entries) - 1} more' if len(entries) > 1 else ''}; give another --out"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the run in a folder.

        Raises:
            RunError: there is no folder, the folder holds no run, the configuration is damaged, or another maskwork
                wrote the run.
        """
        path = Path(path)
        if not path.is_dir():
            entry = "a file" if path.exists() else "nothing"
            raise RunError(f"a run must be a folder that maskwork train made, got {entry} at '{path}'")
        values = _read_config(path)
        # The mark first, then the format: only then may the rest be expected to be as this version writes it.
        if not isinstance(values, dict) or _MARK not in values:
            raise RunError(
                f"a run folder's config.json must have the key {_MARK!r}, got the file of another program in '{path}'"
            )
        if values[_MARK] != FORMAT:
            raise RunError(
                f"this maskwork ({_version()}) reads run folders of format {FORMAT}, got format {values[_MARK]} in "
                f"'{path}', written by maskwork {values.get('version', 'unknown')}; use that version or train anew"
            )
        for section in _SECTIONS:
            if not isinstance(values.get(section), dict):
                raise RunError(
                    f"a run's config.json must hold the tables {', '.join(_SECTIONS)}, got no table {section!r} in "
                    f"'{path}'; restore the file from a copy"
                )
        return cls(path, {section: values[section] for section in _SECTIONS})

    @property
    def tokenizer_path(self) -> Path:
        """The path of tokenizer.json."""
        return self.path / "tokenizer.json"

    @property
    def metrics_path(self) -> Path:
        """The path of metrics.jsonl."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        """The path of checkpoint.safetensors."""
        return self.path / "checkpoint.safetensors"

    @property
    def model_path(self) -> Path:
        """The path of model.safetensors."""
        return self.path / "model.safetensors"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process, or raise `RunError`: two trainings would mix their lines of metrics.

        The folder itself is locked, not a file in the folder: no file stays behind, and the lock ends with the process.
        Where the system has no such locks, nothing is held.
        """
        if fcntl is None:
            yield
            return
        # The lock belongs to the open descriptor and ends when it is closed, also by the death of the process.
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"a run is trained by one process at a time, got '{self.path}', which is in use by another "
                    "process; wait for that process or end it"
                ) from None
            except OSError:
                pass  # some network file systems have no such locks
            yield
        finally:
            os.close(descriptor)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line of metrics: a table with a "step"; wall-clock values stand under "timing".

        Raises:
            ArgumentError: there is no integer step, or a value that JSON can't hold (such as NaN and infinity).
        """
        values = dict(record) | {"step": integer(record.get("step"), "the step of a line of metrics")}
        try:
            line = json.dumps(values, allow_nan=False)
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"a line of metrics must hold finite numbers and other JSON values, got {dict(record)!r}"
            ) from error
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return all lines of metrics, oldest first, without a half-written last line.

        Raises:
            RunError: a line before the last is damaged.
        """
        return [json.loads(line) for line in self._lines()]

    def truncate_metrics(self, step: int) -> None:
        """Delete the lines after `step` and a half-written last line: a resumed run writes them again."""
        step = at_least(step, 0, "step")
        if self.metrics_path.exists():
            lines = [line for line in self._lines() if json.loads(line)["step"] <= step]
            write_atomic(self.metrics_path, "".join(f"{line}\n" for line in lines))

    def sync_metrics(self) -> None:
        """Flush the lines to the disk, so that they survive a power cut; a checkpoint relies on them."""
        if self.metrics_path.exists():
            with self.metrics_path.open("rb+") as file:
                os.fsync(file.fileno())

    def recipe(self) -> Recipe:
        """Return the recipe of the run.

        Raises:
            RunError: the configuration doesn't describe a recipe.
        """
        from ._recipe import Recipe

        # "data" also holds the source and digests, which belong to the run and to no recipe.
        data = {name: self.config["data"].get(name) for name in ("packing",)}
        try:
            return Recipe.from_dict({**self.config, "data": data})
        except ArgumentError as error:
            raise RunError(f"the recipe in '{self.path}/config.json' can't be used: {error}") from error

    def source(self) -> str:
        """Return the source of the run's text.

        Raises:
            RunError: the configuration doesn't name the source.
        """
        source = self.config["data"].get("source")
        if not isinstance(source, str):
            raise RunError(
                f"the configuration of the run in '{self.path}' doesn't name the source of its text; pass --data"
            )
        return source

    def load_tokenizer(self) -> Tokenizer:
        """Return the run's tokenizer.

        Raises:
            RunError: there is no tokenizer.json.
            DataError: the file is damaged.
        """
        from ..data import Tokenizer

        if not self.tokenizer_path.is_file():
            raise RunError(f"a run holds its tokenizer.json, got none in '{self.path}'; restore it or train anew")
        return Tokenizer.from_file(self.tokenizer_path)

    def open_model(self) -> OpenedModel:
        """Return the trained model in evaluation mode, with its mask and, where the run has one, its tokenizer.

        Raises:
            RunError, CheckpointError: as `load_model`.
        """
        from ..data import token_text
        from ..hf import OpenedModel

        model = self.load_model().eval()
        tokenizer = self.load_tokenizer() if self.tokenizer_path.is_file() else None
        return OpenedModel(
            model,
            (model.mask,),
            model.config.vocab_size,
            model.config.context,
            None if tokenizer is None else tokenizer.encode,
            token_text(tokenizer),
        )

    def load_model(self) -> Transformer:
        """Return the trained model on the CPU; of an interrupted run, the model of the last checkpoint.

        Raises:
            RunError: there are no weights yet, or the configuration doesn't describe a model.
            CheckpointError: the weights are damaged or of another model.
        """
        # Inside: a run can be opened and listed without building models.
        from ..models import ModelConfig, Transformer
        from ..models._weights import put_weights, read_weights

        try:
            model = Transformer(ModelConfig.from_dict(self.config["model"]))
        except ArgumentError as error:
            raise RunError(f"the model in '{self.path}/config.json' can't be built: {error}") from error
        if self.model_path.exists():
            tensors, metadata = read_weights(self.model_path)
            # A file without any metadata was put here by hand (`save_weights`) and has no checksum to compare.
            if metadata and metadata.get(_WEIGHTS_CRC32) != str(tensors_crc32(tensors)):
                raise CheckpointError(
                    f"the weights of a run must be those that training wrote, got '{self.model_path}', which is "
                    "damaged (its checksum does not match its tensors); train again or restore a copy"
                )
            put_weights(model, tensors, self.model_path)
        elif self.checkpoint_path.exists():
            load_checkpoint_weights(self.checkpoint_path, model)
        else:
            raise RunError(
                f"a run holds weights after its first save, got none in '{self.path}'; continue with --resume"
            )
        return model

    def save_model(self, model: nn.Module) -> None:
        """Write the model's weights and their checksum, atomically."""
        from ..models._weights import weights_of, write_weights

        # In the metadata of the same file, so that weights and checksum are replaced in one rename.
        tensors = weights_of(model)
        write_weights(tensors, self.model_path, {_WEIGHTS_CRC32: str(tensors_crc32(tensors))})

    def _lines(self) -> list[str]:
        """Return the complete lines of metrics, each checked."""
        if not self.metrics_path.exists():
            return []
        # Split as bytes: a half-written last line may end inside a character.
        *lines, _half_written = self.metrics_path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                intact = is_integer(json.loads(line)["step"])
            except (ValueError, KeyError, TypeError, RecursionError):
                intact = False
            if not intact:
                raise RunError(
                    f"each line of metrics must be a JSON table with a step, got another line {number} in "
                    f"'{self.metrics_path}'; correct or delete the line"
                )
        return [line.decode() for line in lines]


def _read_config(path: Path) -> Any:
    """Return the JSON of a folder's config.json."""
    try:
        return json.loads((path / "config.json").read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"a run folder holds config.json, got none in '{path}'; give a folder of maskwork train"
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise RunError(
            f"a run's config.json must be JSON, got a damaged file in '{path}' ({error}); restore it from a copy "
            "or train anew"
        ) from error


def _is_run(path: Path) -> bool:
    """Return whether a folder's config.json is that of a run."""
    try:
        values = _read_config(path)
    except RunError:
        return False
    return isinstance(values, dict) and _MARK in values


def _version() -> str:
    """Return maskwork's version."""
    from .. import __version__

    return __version__
