"""`ModelConfig`: everything that shapes a Transformer, as one value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import ArgumentError
from ..masks import parse

#: Far beyond any machine: what exceeds it is a slip, better said than met as an error of memory.
_MOST_NUMBERS, _MOST_LAYERS, _MOST_CONTEXT = 2**36, 10_000, 2**24


@dataclass(frozen=True)
class ModelConfig:
    """A decoder in the manner of LLaMA (Touvron et al. 2023).

    >>> from maskwork.models import ModelConfig
    >>> ModelConfig(vocab_size=256, layers=2, width=64, heads=4, kv_heads=2, hidden=128, context=32).head_dim
    16
    """

    vocab_size: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    #: Width inside the feed-forward.
    hidden: int
    #: Most positions that the model knows.
    context: int
    rope_theta: float = 10000.0
    #: The mask over one unpacked sequence, in the text form of `mw.parse`.
    mask: str = "causal"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "width", "heads", "kv_heads", "hidden", "context"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"model {name} must be an integer of at least 1, got {_short(value)}")
            most = {"layers": _MOST_LAYERS, "context": _MOST_CONTEXT}.get(name, _MOST_NUMBERS)
            if value > most:
                raise ArgumentError(f"model {name} must be at most {most}, got {_short(value)}; lower it")
        if self.width % self.heads or self.heads % self.kv_heads or self.head_dim % 2:
            raise ArgumentError(
                "model width must be a multiple of heads, heads a multiple of kv_heads and width / heads even, got "
                f"width={self.width}, heads={self.heads}, kv_heads={self.kv_heads}"
            )
        if (numbers := self._numbers()) > _MOST_NUMBERS:
            raise ArgumentError(
                f"a model must have at most {_MOST_NUMBERS} parameters and entries of its table of positions, this one "
                f"has {numbers}; lower width, hidden, layers, vocab_size or context"
            )
        if not _is_positive(self.rope_theta):
            raise ArgumentError(f"model rope_theta must be a positive, finite number, got {_short(self.rope_theta)}")
        if (batch := parse(self.mask).batch) != 1:  # parse raises with a caret
            raise ArgumentError(
                f"a model's mask must be one for every sequence, got one of {batch} batch rows; pass that to forward"
            )

    def _numbers(self) -> int:
        """Parameters, and what the rotary tables hold."""
        attention = 2 * self.width * (self.width + self.kv_heads * self.head_dim)
        block = attention + 3 * self.width * self.hidden + 2 * self.width
        return self.vocab_size * self.width + self.layers * block + self.width + 2 * self.context * self.head_dim

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """The reverse of `to_dict`; an unknown or missing field raises and is named."""
        known = {field.name for field in fields(ModelConfig)}
        required = {field.name for field in fields(ModelConfig) if field.name not in ("rope_theta", "mask")}
        if unknown := sorted(set(values) - known):
            raise ArgumentError(f"model has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
        if missing := sorted(required - set(values)):
            raise ArgumentError(f"model needs the field {missing[0]!r}; add it")
        return ModelConfig(**values)


def _is_positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return 0 < float(value) < math.inf
    except OverflowError:  # an integer beyond the largest float
        return False


def _short(value: object) -> str:
    """Python refuses to write out an integer of thousands of digits."""
    long = isinstance(value, int) and value.bit_length() > 80
    return f"an integer of {value.bit_length()} bits" if long else repr(value)
