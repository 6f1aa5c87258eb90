"""`generate`: the tokens that follow a prompt, one at a time, with or without the KV cache."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from .._shared.numbers import at_least, is_integer
from ..errors import ArgumentError, PromptTooLong
from ..models import Transformer
from ._sampling import Sampling, sample


def generate(
    model: Transformer,
    prompt: Sequence[int] | Any,
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    stop: Iterable[int] = frozenset(),
    use_cache: bool = True,
) -> Iterator[int]:
    """Yield the tokens that follow `prompt`.

    Args:
        model: the model, already in the mode to run in; its weights are not changed.
        prompt: token ids, at least one and at most the model's context: any sequence, or a 1-D tensor or array.
        max_tokens: the most tokens to yield; fewer are yielded when the context is full or a stop token is chosen.
        sampling: how the next token is chosen; greedy when left out.
        stop: tokens that end the text; a stop token is not yielded.
        use_cache: False recomputes the whole sequence for every token: slower, the same tokens.

    Raises:
        PromptTooLong: at the call, as all errors: the prompt is longer than the model's context.
        ArgumentError: the prompt is empty, not one sequence of integers or outside the vocabulary; `max_tokens` is not
            an integer of at least 0, or one of `stop` is not an integer.

    >>> import torch, maskwork as mw
    >>> config = mw.models.ModelConfig(vocab_size=9, layers=1, width=8, heads=2, kv_heads=1, hidden=16, context=12)
    >>> model = mw.models.Transformer(config)
    >>> len(list(mw.decoding.generate(model, [1, 2], max_tokens=5)))
    5
    """
    context, vocab = model.config.context, model.config.vocab_size
    prompt = _as_ids(prompt)
    if not prompt:
        raise ArgumentError("a prompt needs at least one token, got none; start with the end-of-text token")
    if len(prompt) > context:
        raise PromptTooLong(
            f"a prompt must fit the model's context of {context} tokens, got {len(prompt)}; shorten the prompt, "
            "or cut it from the left"
        )
    if min(prompt) < 0 or max(prompt) >= vocab:
        raise ArgumentError(
            f"tokens must be in [0, {vocab}), got {min(prompt)} to {max(prompt)}; use the run's tokenizer"
        )
    stop = _stop_tokens(stop)
    max_tokens = at_least(max_tokens, 0, "max_tokens")
    # The checks above run at the call; a generator function would put them off until the first token.
    return _tokens(model, prompt, max_tokens, sampling or Sampling(), stop, use_cache)


def _as_ids(prompt: Any) -> list[int]:
    """Return the ids as Python's own integers: a tensor has no truth value, and compares elementwise."""
    iterable: Any = prompt.tolist() if hasattr(prompt, "tolist") else prompt
    values: list[Any] | None = list(iterable) if isinstance(iterable, Iterable) else None
    if values is None or not all(is_integer(value) for value in values):
        shape = f" of shape {tuple(prompt.shape)}" if hasattr(prompt, "shape") else ""
        raise ArgumentError(
            f"a prompt is one sequence of integers, got a {type(prompt).__name__}{shape}; encode text, and pass one row"
        )
    return [operator.index(value) for value in values]


def _stop_tokens(stop: Any) -> frozenset[int]:
    """Return the tokens that end a text as Python's own integers; a bool would pass for one of them."""
    tokens: list[Any] | None = list(stop) if isinstance(stop, Iterable) else None
    if tokens is None or not all(is_integer(token) for token in tokens):
        raise ArgumentError(f"stop is a set of token ids, got {' '.join(repr(stop).split()):.60}; pass integers")
    return frozenset(operator.index(token) for token in tokens)


def _tokens(
    model: Transformer,
    tokens: list[int],
    max_tokens: int,
    sampling: Sampling,
    stop: frozenset[int],
    use_cache: bool,
) -> Iterator[int]:
    """Yield the tokens; the arguments are checked."""
    device = model.embedding.weight.device
    generator = None if sampling.greedy else torch.Generator(device).manual_seed(sampling.seed)
    # The last token is yielded and never read, so the cache needs no position beyond the prompt and the tokens.
    cache = model.new_cache(capacity=min(model.config.context, len(tokens) + max_tokens)) if use_cache else None
    unread = tokens  # the tokens that the cache does not hold yet; without a cache, all of them
    for _ in range(max_tokens):
        if len(tokens) > model.config.context:
            return
        # Entered for each step, not round the loop: between steps the caller's code runs, in its own mode.
        with torch.inference_mode():
            logits = model(torch.tensor([unread], device=device), cache=cache)[:, -1]
            token = int(sample(logits, sampling, generator))
        if token in stop:
            return
        yield token
        tokens = [*tokens, token]
        unread = tokens if cache is None else [token]
