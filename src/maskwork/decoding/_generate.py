"""`generate`: the tokens that follow a prompt, one at a time, with or without the KV cache."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..errors import ArgumentError, PromptTooLong
from ..models import Transformer
from ._sampling import Sampling, sample


def generate(
    model: Transformer,
    prompt: Sequence[int] | Any,
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    stop: frozenset[int] = frozenset(),
    use_cache: bool = True,
) -> Iterator[int]:
    """Yield the tokens that follow `prompt`.

    Args:
        model: in the mode it should run in; weights are not changed.
        prompt: token ids, at least one and at most the model's context: any sequence, or a 1-D tensor or array.
        max_tokens: most tokens to yield; fewer come when the context is full or a stop token is chosen.
        sampling: greedy when left out.
        stop: tokens that end the text; they are not yielded.
        use_cache: False recomputes the whole sequence for every token: slower, the same tokens.

    Raises:
        PromptTooLong, ArgumentError: at the call, before the first token.

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
            f"a prompt must fit the model's context of {context} tokens, got {len(prompt)}; shorten it, or cut it from "
            "the left"
        )
    if min(prompt) < 0 or max(prompt) >= vocab:
        raise ArgumentError(
            f"tokens must be in [0, {vocab}), got {min(prompt)} to {max(prompt)}; use the run's tokenizer"
        )
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 0:
        raise ArgumentError(f"max_tokens must be an integer of at least 0, got {max_tokens!r}")
    # The checks above run at the call; a generator function would put them off until the first token.
    # One more position than the prompt and the tokens is never needed: the last token is yielded, not read.
    return _tokens(model, prompt, max_tokens, sampling or Sampling(), stop, use_cache)


def _as_ids(prompt: Any) -> list[int]:
    """The ids as Python's own integers: a tensor has no truth value, and compares elementwise."""
    values = prompt.tolist() if hasattr(prompt, "tolist") else prompt
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        shape = f" of shape {tuple(prompt.shape)}" if hasattr(prompt, "shape") else ""
        raise ArgumentError(
            f"a prompt is one sequence of integers, got a {type(prompt).__name__}{shape}; encode text, and pass one row"
        ) from None


def _tokens(
    model: Transformer,
    tokens: list[int],
    max_tokens: int,
    sampling: Sampling,
    stop: frozenset[int],
    use_cache: bool,
) -> Iterator[int]:
    device = model.embedding.weight.device
    generator = None if sampling.greedy else torch.Generator(device).manual_seed(sampling.seed)
    cache = model.new_cache(capacity=min(model.config.context, len(tokens) + max_tokens)) if use_cache else None
    new = tokens
    for _ in range(max_tokens):
        if len(tokens) > model.config.context:
            return
        # Entered for each step, not round the loop: between steps the caller runs, in a mode of its own.
        with torch.inference_mode():
            logits = model(torch.tensor([new], device=device), cache=cache)[:, -1]
            token = int(sample(logits, sampling, generator))
        if token in stop:
            return
        yield token
        tokens = [*tokens, token]
        new = tokens if cache is None else [token]
