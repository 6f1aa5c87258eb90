"""`Recipe`: everything that decides a training run except its data, as one value and as a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from .._shared.numbers import at_least
from ..errors import ArgumentError, DataError
from ..models import ModelConfig
from ._config import TrainConfig

#: Strategies of `mw.data.pack` that a recipe may name; "pad" would train on padding.
PackingStrategy = Literal["best_fit", "first_fit", "sequential"]


@dataclass(frozen=True)
class Recipe:
    """The configurations of a model, of its training and of the packing of rows.

    Attributes:
        model: the model. Its `vocab_size` is the most tokens of the tokenizer; a small corpus may yield fewer.
        train: the training.
        packing: the strategy by which documents share rows: "best_fit", "first_fit" or "sequential".

    >>> from maskwork.training import Recipe
    >>> Recipe.from_dict({"train": {"steps": 50, "warmup_steps": 5}}).train.steps
    50
    """

    model: ModelConfig
    train: TrainConfig
    packing: PackingStrategy = "best_fit"

    def __post_init__(self) -> None:
        if self.packing not in (strategies := get_args(PackingStrategy)):
            raise ArgumentError(f"packing must be one of {', '.join(strategies)}, got {self.packing!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a recipe file holds them."""
        return {
            "model": self.model.to_dict(),
            "train": self.train.to_dict(),
            "data": {"packing": self.packing},
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
        """Return the recipe `base` (the built-in one when left out) with these values in place of its own.

        Raises:
            ArgumentError: an unknown table or field, or a value that breaks its rule.
        """
        base = DEFAULT_RECIPE if base is None else base
        # Values replace those of `base` one by one; the result is checked as a whole at the end.
        tables = base.to_dict()
        for name, table in values.items():
            if name not in tables or not isinstance(table, Mapping):
                raise ArgumentError(f"a recipe has the tables {', '.join(tables)}, got {name!r}; move it into a table")
            if name == "data" and (unknown := sorted(set(table) - {"packing"})):
                raise ArgumentError(f"data has no field {unknown[0]!r}; its only field is packing")
            tables[name] |= table
        return Recipe(
            ModelConfig.from_dict(tables["model"]),
            TrainConfig.from_dict(tables["train"]),
            tables["data"]["packing"],
        )

    @staticmethod
    def from_toml(path: str | Path) -> Recipe:
        """Read a recipe file; fields that it leaves out are those of the built-in recipe.

        Raises:
            DataError: the file is missing or not TOML.
            ArgumentError: as `from_dict`.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise DataError(
                f"a recipe must be a TOML file, got '{path}', which can't be read: {reason}; check the path"
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"a recipe must be a TOML file, got an error in '{path}': {error}") from None
        except (RecursionError, ValueError):  # ValueError: Python reads no integer of thousands of digits
            raise DataError(
                f"a recipe must be a TOML file of two levels, got '{path}', which nests too deep or holds an integer "
                "of thousands of digits"
            ) from None
        return Recipe.from_dict(values)

    def with_steps(self, steps: int) -> Recipe:
        """Return the same recipe over another number of steps; the warm-up has the same share of them."""
        steps = at_least(steps, 1, "steps")
        warmup = min(steps, max(1, round(self.train.warmup_steps * steps / self.train.steps)))
        return replace(self, train=replace(self.train, steps=steps, warmup_steps=warmup))

    def with_seed(self, seed: int) -> Recipe:
        """Return the same recipe with another seed."""
        return replace(self, train=replace(self.train, seed=seed))


#: What `maskwork demo` runs and `maskwork train` starts from: about three minutes on two CPU cores.
DEFAULT_RECIPE = Recipe(
    model=ModelConfig(vocab_size=4096, layers=3, width=128, heads=4, kv_heads=2, hidden=384, context=256),
    train=TrainConfig(
        steps=1700,
        batch_rows=2,
        learning_rate=5e-3,
        min_learning_rate_ratio=0.05,
        warmup_steps=85,
        eval_every=250,
        save_every=250,
        log_every=10,
    ),
)
