"""Sentinels: the tokens that stand for what span corruption took out, in the order of their use."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, pairwise
from typing import Literal, Protocol

from ...errors import ArgumentError
from .._arguments import check_token

Order = Literal["descending", "ascending", "given"]


class _Vocabulary(Protocol):
    def get_vocab(self) -> dict[str, int]: ...


def sentinels_of(tokenizer: _Vocabulary, pattern: str = "<extra_id_{}>") -> tuple[int, ...]:
    """The ids of `<extra_id_0>`, `<extra_id_1>`, … of a tokenizer, by their names: the order of their use.

    Args:
        tokenizer: anything whose `get_vocab()` maps tokens to ids, such as a tokenizer of transformers or tokenizers.
        pattern: the tokens' name, with `{}` for the number.

    Raises:
        ArgumentError: it has no such token.

    >>> class Tokenizer:
    ...     def get_vocab(self):
    ...         return {"the": 0, "<extra_id_1>": 98, "<extra_id_0>": 99}
    >>> sentinels_of(Tokenizer())
    (99, 98)
    """
    vocabulary = tokenizer.get_vocab()
    found: list[int] = []
    for number in count():
        token = vocabulary.get(pattern.format(number))
        if token is None:
            break
        found.append(token)
    if not found:
        raise ArgumentError(
            f"sentinels are found by their names; {pattern.format(0)} is no token of this tokenizer; "
            "pass the pattern of its names, or the ids themselves"
        )
    return tuple(found)


def check_apart(sentinels: Iterable[int], others: Iterable[int | None]) -> None:
    """Raise `ArgumentError` if a sentinel is also one of the other tokens that the objective writes."""
    for token in set(sentinels).intersection(others):
        raise ArgumentError(
            f"a sentinel stands for a span and for nothing else; found {token}, which is also an end or a mode token; "
            "give each its own"
        )


def check_sentinels(sentinels: Iterable[int], order: Order) -> tuple[int, ...]:
    """The sentinels as a tuple; T5's count down: `<extra_id_0>` is 32099, the last id, and `<extra_id_1>` is 32098.

    Raises:
        ArgumentError: there are none, one comes twice, or their ids don't run in the stated order.
    """
    ids = tuple(sentinels)
    for token in ids:
        check_token(token, "each of the sentinels")
    if order not in ("descending", "ascending", "given"):
        raise ArgumentError(
            f'sentinel_order is "descending" (T5), "ascending" or "given"; found {order!r}; pass one of them'
        )
    if not ids:
        raise ArgumentError("span corruption needs sentinels; found none; T5's are range(32099, 31999, -1)")
    if len(set(ids)) < len(ids):
        twice = next(token for token in ids if ids.count(token) > 1)
        raise ArgumentError(f"each sentinel stands for one span; found {twice} twice; pass different tokens")
    if order == "given":
        return ids
    for first, second in pairwise(ids):
        if (first > second) != (order == "descending"):
            raise ArgumentError(
                f"sentinels are {order} ids in the order of use, as sentinel_order says (T5's begin 32099, 32098); "
                f"found {first} before {second}; reverse them, or take sentinels_of(tokenizer), and pass "
                'sentinel_order="ascending" or "given" where that runs otherwise'
            )
    return ids
