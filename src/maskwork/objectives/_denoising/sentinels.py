"""Sentinels: the tokens that stand for what span corruption took out, in the order of their use."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, pairwise
from typing import Literal, Protocol

from ...errors import ArgumentError
from .._arguments import token_id

Order = Literal["descending", "ascending", "given"]


class _Vocabulary(Protocol):
    def get_vocab(self) -> dict[str, int]: ...


def sentinels_of(tokenizer: _Vocabulary, pattern: str = "<extra_id_{}>") -> tuple[int, ...]:
    """Return the ids of `<extra_id_0>`, `<extra_id_1>`, … of a tokenizer, by their names: the order of their use.

    Args:
        tokenizer: an object whose `get_vocab()` maps tokens to ids, as tokenizers of transformers and tokenizers have.
        pattern: the tokens' name, with `{}` for the number.

    Raises:
        ArgumentError: the tokenizer has no such token.

    >>> class Tokenizer:
    ...     def get_vocab(self):
    ...         return {"the": 0, "<extra_id_1>": 98, "<extra_id_0>": 99}
    >>> sentinels_of(Tokenizer())
    (99, 98)
    """
    vocabulary = tokenizer.get_vocab()
    ids: list[int] = []
    for number in count():
        token = vocabulary.get(pattern.format(number))
        if token is None:  # the numbers run without a gap
            break
        ids.append(token)
    if not ids:
        raise ArgumentError(
            f"sentinels are known by their names, got a tokenizer without {pattern.format(0)}; "
            "pass the pattern of its names, or the ids themselves"
        )
    return tuple(ids)


def check_apart(sentinels: Iterable[int], written: Iterable[int | None]) -> None:
    """Raise `ArgumentError` if a sentinel is also an end or a mode token, which the objective writes too."""
    for token in set(sentinels).intersection(written):
        raise ArgumentError(
            f"a sentinel stands for a span and for nothing else, got {token}, which is also an end or a mode token"
        )


def check_sentinels(sentinels: Iterable[int], order: Order) -> tuple[int, ...]:
    """Return the sentinels as a tuple of `int`.

    T5's ids count down: `<extra_id_0>` is 32099, the last id, and `<extra_id_1>` is 32098.

    Raises:
        ArgumentError: no sentinels, a sentinel twice, or ids that don't run in the stated order.
    """
    ids = tuple(token_id(token, "each of the sentinels") for token in sentinels)
    if order not in ("descending", "ascending", "given"):
        raise ArgumentError(f'sentinel_order must be "descending" (T5), "ascending" or "given", got {order!r}')
    if not ids:
        raise ArgumentError("span corruption needs sentinels, got none; T5's are range(32099, 31999, -1)")
    if len(set(ids)) < len(ids):
        twice = next(token for token in ids if ids.count(token) > 1)
        raise ArgumentError(f"each sentinel stands for one span, got {twice} twice")
    # A reversed list trains without an error and matches no published checkpoint: the order is checked.
    if order == "given":
        return ids
    for first, second in pairwise(ids):
        if (first > second) != (order == "descending"):
            raise ArgumentError(
                f"sentinels are {order} ids in the order of use, as sentinel_order says (T5's begin 32099, 32098), "
                f"got {first} before {second}; reverse them, or take sentinels_of(tokenizer), and pass "
                'sentinel_order="ascending" or "given" where that runs otherwise'
            )
    return ids
