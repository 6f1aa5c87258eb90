"""`ModelConfig`: everything that shapes a Transformer, as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import ArgumentError
from ..masks import parse


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
                raise ArgumentError(f"model {name} must be an integer of at least 1, got {value!r}")
        if self.width % self.heads or self.heads % self.kv_heads or self.head_dim % 2:
            raise ArgumentError(
                "model width must be a multiple of heads, heads a multiple of kv_heads and width / heads even, got "
                f"width={self.width}, heads={self.heads}, kv_heads={self.kv_heads}"
            )
        if isinstance(self.rope_theta, bool) or not isinstance(self.rope_theta, (int, float)) or self.rope_theta <= 0:
            raise ArgumentError(f"model rope_theta must be a positive number, got {self.rope_theta!r}")
        parse(self.mask)  # raises with a caret

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
