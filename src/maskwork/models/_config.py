"""`ModelConfig`: everything that shapes a Transformer, as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from .._shared.numbers import finite, integer, is_integer
from ..errors import ArgumentError
from ..masks import parse

#: Far beyond any machine: a larger number is a slip, and gets a message here instead of running out of memory later.
_MOST_NUMBERS, _MOST_LAYERS, _MOST_CONTEXT = 2**36, 10_000, 2**24

#: The integer fields and the largest value of each.
_LARGEST = {
    "vocab_size": _MOST_NUMBERS,
    "layers": _MOST_LAYERS,
    "width": _MOST_NUMBERS,
    "heads": _MOST_NUMBERS,
    "kv_heads": _MOST_NUMBERS,
    "hidden": _MOST_NUMBERS,
    "context": _MOST_CONTEXT,
}


@dataclass(frozen=True)
class ModelConfig:
    """A decoder in the manner of LLaMA (Touvron et al. 2023).

    Attributes:
        vocab_size: how many tokens the model knows.
        layers: how many blocks of attention and feed-forward.
        width: numbers per position of the residual stream.
        heads: query heads; `width` is a multiple of them, and `width / heads` is even.
        kv_heads: key and value heads; `heads` is a multiple of them.
        hidden: width inside the feed-forward.
        context: most positions that the model knows.
        rope_theta: base of the rotary frequencies.
        mask: the mask over one unpacked sequence, in the text form of `mw.parse`.

    Raises:
        ArgumentError: a field is out of its range or of another type, or the mask is one of several batch rows.

    >>> from maskwork.models import ModelConfig
    >>> ModelConfig(vocab_size=256, layers=2, width=64, heads=4, kv_heads=2, hidden=128, context=32).head_dim
    16
    """

    vocab_size: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    context: int
    rope_theta: float = 10000.0
    mask: str = "causal"

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = integer(getattr(self, name), f"model {name}", minimum=1, maximum=largest)
            object.__setattr__(self, name, value)
        # Rotary positions turn pairs of numbers, hence the even width of a head.
        if self.width % self.heads or self.heads % self.kv_heads or self.head_dim % 2:
            raise ArgumentError(
                "model width must be a multiple of heads, heads a multiple of kv_heads and width / heads even, got "
                f"width={self.width}, heads={self.heads}, kv_heads={self.kv_heads}"
            )
        if (numbers := self._numbers()) > _MOST_NUMBERS:
            raise ArgumentError(
                f"a model must have at most {_MOST_NUMBERS} parameters and entries of its table of positions, "
                f"got {numbers}; lower width, hidden, layers, vocab_size or context"
            )
        rope_theta = finite(self.rope_theta, "model rope_theta")
        if rope_theta <= 0:
            raise ArgumentError(f"model rope_theta must be above 0, got {rope_theta}")
        # An integer stays one: a run folder written with `10000` is resumed with the same JSON.
        object.__setattr__(self, "rope_theta", int(self.rope_theta) if is_integer(self.rope_theta) else rope_theta)
        if (batch := parse(self.mask).batch) != 1:  # parse raises with a caret
            raise ArgumentError(
                f"a model's mask must be one for every sequence, got one of {batch} batch rows; pass that to forward"
            )

    def _numbers(self) -> int:
        """Count the parameters and the entries of the rotary tables."""
        attention = 2 * self.width * (self.width + self.kv_heads * self.head_dim)  # query and out; key and value
        block = attention + 3 * self.width * self.hidden + 2 * self.width  # SwiGLU's three matrices, two norms
        return self.vocab_size * self.width + self.layers * block + self.width + 2 * self.context * self.head_dim

    @property
    def head_dim(self) -> int:
        """The width of one head."""
        return self.width // self.heads

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """Return the configuration that `to_dict` wrote.

        Raises:
            ArgumentError: a field is unknown or missing, or breaks its rule; the message names the field.
        """
        names = {field.name for field in fields(ModelConfig)}
        required = names - {"rope_theta", "mask"}
        if unknown := sorted(set(values) - names):
            raise ArgumentError(f"model has no field {unknown[0]!r}; its fields are {', '.join(sorted(names))}")
        if missing := sorted(required - set(values)):
            raise ArgumentError(f"model needs the field {missing[0]!r}; add it")
        return ModelConfig(**values)
