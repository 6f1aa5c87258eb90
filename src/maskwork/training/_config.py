"""`TrainConfig`: every number that decides a training run, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train: AdamW with warm-up and cosine decay, clipped, over `steps` steps.

    Attributes:
        steps: optimizer steps, at least 1.
        batch_rows: packed rows in one forward pass.
        accumulate: forward passes per step; a step trains on `batch_rows * accumulate` rows, and its gradient
            is that of one batch of all of them.
        learning_rate: the peak, reached after `warmup_steps`.
        min_learning_rate_ratio: the last step's learning rate as a part of the peak, in [0, 1].
        warmup_steps: steps of linear warm-up, from 0 to `steps`.
        weight_decay: AdamW's, on tensors with two or more axes only (not on gains and biases).
        betas: AdamW's, each in [0, 1).
        clip: the largest norm of the whole gradient; 0 switches clipping off.
        seed: of the order of the rows and of everything random in a step.
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
        for name, least in _INTEGERS.items():
            _check_integer(name, getattr(self, name), least)
        if self.warmup_steps > self.steps:
            raise ArgumentError(
                f"warmup_steps must be at most steps; found {self.warmup_steps} of {self.steps}; lower it or "
                "train longer"
            )
        for name in ("learning_rate", "min_learning_rate_ratio", "weight_decay", "clip"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.learning_rate <= 0:
            raise ArgumentError(f"learning_rate must be above 0; found {self.learning_rate:g}; 1e-3 is a start")
        if not 0 <= self.min_learning_rate_ratio <= 1:
            raise ArgumentError(
                f"min_learning_rate_ratio must lie in [0, 1]; found {self.min_learning_rate_ratio:g}; 0.1 is usual"
            )
        for name in ("weight_decay", "clip"):
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name} must be at least 0; found {getattr(self, name):g}; 0 switches it off")
        object.__setattr__(self, "betas", _check_betas(self.betas))

    @property
    def rows_per_step(self) -> int:
        """Packed rows that one step trains on."""
        return self.batch_rows * self.accumulate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML; `from_dict` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The configuration of these values; fields with a default may be left out.

        Raises:
            ArgumentError: an unknown or a missing key (the message names the known ones), a wrong type or
                range.
        """
        if not isinstance(values, Mapping):
            raise ArgumentError(f"a training configuration must be a table of keys; found {values!r}; give key = value")
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ArgumentError(f"unknown training key {key!r}; the known ones are {', '.join(known)}")
        missing = [name for name in _REQUIRED if name not in values]
        if missing:
            raise ArgumentError(
                f"a training configuration needs {', '.join(missing)}; found only "
                f"{', '.join(map(str, values)) or 'nothing'}; the known keys are {', '.join(known)}"
            )
        return cls(**values)


_REQUIRED = ("steps", "batch_rows", "learning_rate", "warmup_steps", "eval_every", "save_every")

#: Integer fields and the least that each may be.
_INTEGERS = {
    "steps": 1,
    "batch_rows": 1,
    "accumulate": 1,
    "warmup_steps": 0,
    "seed": 0,
    "eval_every": 0,
    "save_every": 0,
    "log_every": 1,
}

#: The bits that each may have: PyTorch's generators take seeds of 63, and no run needs counts of more than 31.
_BITS = {name: 63 if name == "seed" else 31 for name in _INTEGERS}


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(
            f"{name} must be an integer; found {value!r} ({type(value).__name__}); write it without quotes"
        )
    if value < least:
        raise ArgumentError(f"{name} must be at least {least}; found {_short(value)}; raise it")
    if value.bit_length() > _BITS[name]:
        raise ArgumentError(f"{name} must be below 2**{_BITS[name]}; found {_short(value)}; lower it")


def _short(value: int) -> str:
    """Python refuses to write out an integer of thousands of digits."""
    return str(value) if value.bit_length() <= 80 else f"an integer of {value.bit_length()} bits"


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentError(
            f"{name} must be a number; found {value!r} ({type(value).__name__}); write it without quotes"
        )
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the largest float
        number = math.inf
    if not math.isfinite(number):
        raise ArgumentError(f"{name} must be finite; found {number}; give a number")
    return number


def _check_betas(value: object) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ArgumentError(f"betas must be two numbers; found {value!r}; (0.9, 0.95) is usual")
    first, second = (_number("betas", beta) for beta in value)
    if not (0 <= first < 1 and 0 <= second < 1):
        raise ArgumentError(f"betas must lie in [0, 1); found {first:g} and {second:g}; (0.9, 0.95) is usual")
    return first, second
