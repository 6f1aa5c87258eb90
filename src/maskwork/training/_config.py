"""`TrainConfig`: every number that decides a training run, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .._shared.numbers import finite, integer
from ..errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The numbers of a training run: AdamW with warm-up and cosine decay, clipped, over `steps` steps.

    Attributes:
        steps: optimizer steps, at least 1.
        batch_rows: packed rows in one forward pass.
        accumulate: forward passes per step; a step trains on `batch_rows * accumulate` rows, and its gradient
            is that of one batch of all of them.
        learning_rate: the peak, reached after `warmup_steps`.
        min_learning_rate_ratio: the last step's learning rate as a part of the peak, in [0, 1].
        warmup_steps: steps of linear warm-up, from 0 to `steps`.
        weight_decay: AdamW's weight decay, on tensors with two or more axes only (not on gains and biases).
        betas: AdamW's decay rates, each in [0, 1).
        clip: the largest norm of the whole gradient; 0 switches clipping off.
        seed: the seed of the order of the rows and of all that is random in a step.
        eval_every: steps between validations; 0 validates at the end only.
        save_every: steps between checkpoints; 0 saves at the end only.
        log_every: steps between lines of metrics.

    Raises:
        ArgumentError: a field is out of its range or of another type.

    >>> config = TrainConfig(
    ...     steps=100, batch_rows=8, learning_rate=1e-3, warmup_steps=10, eval_every=50, save_every=50
    ... )
    >>> config.rows_per_step, TrainConfig.from_dict(config.to_dict()) == config
    (8, True)
    """

    steps: int
    batch_rows: int
    accumulate: int = 1
    learning_rate: float
    min_learning_rate_ratio: float = 0.1
    warmup_steps: int
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    seed: int = 0
    eval_every: int
    save_every: int
    log_every: int = 10

    def __post_init__(self) -> None:
        # The checked numbers are stored as Python's own types, which JSON and TOML can write.
        for name, (smallest, largest) in _INTEGERS.items():
            object.__setattr__(self, name, integer(getattr(self, name), name, minimum=smallest, maximum=largest))
        if self.warmup_steps > self.steps:
            raise ArgumentError(
                f"warmup_steps must be at most steps, got {self.warmup_steps} of {self.steps}; lower it or train longer"
            )
        for name in ("learning_rate", "min_learning_rate_ratio", "weight_decay", "clip"):
            object.__setattr__(self, name, finite(getattr(self, name), name))
        if self.learning_rate <= 0:
            raise ArgumentError(f"learning_rate must be above 0, got {self.learning_rate:g}; 1e-3 is a start")
        if not 0 <= self.min_learning_rate_ratio <= 1:
            raise ArgumentError(
                f"min_learning_rate_ratio must lie in [0, 1], got {self.min_learning_rate_ratio:g}; 0.1 is usual"
            )
        for name in ("weight_decay", "clip"):
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name} must be at least 0, got {getattr(self, name):g}; 0 switches it off")
        object.__setattr__(self, "betas", _check_betas(self.betas))

    @property
    def rows_per_step(self) -> int:
        """The number of packed rows that one step trains on."""
        return self.batch_rows * self.accumulate

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or TOML; `from_dict` reads them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of these values; fields with a default may be left out.

        Raises:
            ArgumentError: a key is unknown or missing (the message names the known keys), or a value is of a wrong type
                or range.
        """
        if not isinstance(values, Mapping):
            raise ArgumentError(f"a training configuration must be a table of keys, got {values!r}; give key = value")
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                raise ArgumentError(f"unknown training key {key!r}; the known keys are {', '.join(names)}")
        missing = [name for name in _REQUIRED if name not in values]
        if missing:
            raise ArgumentError(
                f"a training configuration needs {', '.join(missing)}, got only "
                f"{', '.join(map(str, values)) or 'nothing'}; the known keys are {', '.join(names)}"
            )
        return cls(**values)


#: Fields without a default.
_REQUIRED = ("steps", "batch_rows", "learning_rate", "warmup_steps", "eval_every", "save_every")

#: No run needs counts of more than 31 bits; PyTorch's generators take seeds of 63.
_MOST, _LARGEST_SEED = 2**31 - 1, 2**63 - 1

#: Integer fields: the smallest and the largest value of each.
_INTEGERS = {
    "steps": (1, _MOST),
    "batch_rows": (1, _MOST),
    "accumulate": (1, _MOST),
    "warmup_steps": (0, _MOST),
    "seed": (0, _LARGEST_SEED),
    "eval_every": (0, _MOST),
    "save_every": (0, _MOST),
    "log_every": (1, _MOST),
}


def _check_betas(value: object) -> tuple[float, float]:
    """Return the two betas as floats in [0, 1)."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ArgumentError(f"betas must be two numbers, got {value!r}; (0.9, 0.95) is usual")
    first, second = (finite(beta, "each of betas") for beta in value)
    if not (0 <= first < 1 and 0 <= second < 1):
        raise ArgumentError(f"betas must lie in [0, 1), got {first:g} and {second:g}; (0.9, 0.95) is usual")
    return first, second
