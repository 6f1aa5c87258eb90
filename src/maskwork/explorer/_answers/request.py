"""`MaskRequest`: the mask and grid of a request, checked as they are read from its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import ArgumentError
from .. import _limits as limits

#: Names and values of a request, as they come.
Parameters = Mapping[str, str]


@dataclass(frozen=True)
class MaskRequest:
    """A mask, written out, on a grid; through `layers` layers of it where that is not 0.

    Requests are hashable, so that answers about one mask are cached by them.
    """

    expression: str
    q_len: int
    kv_len: int
    q_start: int
    batch: int | None
    heads: int | None
    layers: int

    @staticmethod
    def read(parameters: Parameters, name: str = "mask") -> MaskRequest:
        """Return the mask called `name` on its grid: parameters `length`, or `q_len`, `kv_len` and `q_start`.

        Raises:
            ArgumentError: there is no mask, its text is too long, or a number leaves its range.
        """
        expression = parameters.get(name, "")
        if not expression.strip():
            raise ArgumentError(f"a request names its mask in {name}, got none; write one, such as causal")
        if len(expression) > limits.MAX_EXPRESSION:
            raise ArgumentError(
                f"a mask's text may have {limits.MAX_EXPRESSION} characters here, got {len(expression)}; "
                "write it shorter, or draw it in Python with mask.bind(…).show()"
            )
        kv_len = integer(parameters, "kv_len", integer(parameters, "length", 64, 1, limits.MAX_LENGTH), 1)
        q_len = integer(parameters, "q_len", kv_len, 1)
        return MaskRequest(
            expression=expression,
            q_len=q_len,
            kv_len=kv_len,
            q_start=integer(parameters, "q_start", 0 if q_len == kv_len else max(kv_len - q_len, 0), 0),
            batch=_optional(parameters, "batch", limits.MAX_PLANES),
            heads=_optional(parameters, "heads", limits.MAX_PLANES),
            layers=integer(parameters, "layers", 0, 0, limits.MAX_LAYERS),
        )


def integer(
    parameters: Parameters, name: str, default: int | None = None, low: int = 0, high: int = limits.MAX_LENGTH
) -> int:
    """Return the parameter as a number in [low, high]; `default` where it is left out."""
    text = parameters.get(name)
    if text is None or text == "":
        if default is None:
            raise ArgumentError(f"{name} is a number from {low} to {high}, got none")
        return default
    # Not int(text) alone: it takes "1_000", " 7 " and digits of other scripts.
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16) or not low <= int(text) <= high:
        raise ArgumentError(f"{name} is a number from {low} to {high}, got {text[:40]!r}")
    return int(text)


def _optional(parameters: Parameters, name: str, high: int) -> int | None:
    return integer(parameters, name, 1, 1, high) if parameters.get(name) else None
