"""Streaming a completion: text as it becomes certain, and how fast it came."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..data import Tokenizer
from ..decoding import Sampling, StreamingDetokenizer, generate
from ..models import Transformer


@dataclass(frozen=True)
class Completion:
    """The tokens generated after a prompt, and how long that took."""

    tokens: tuple[int, ...]
    text: str
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """The speed, the prompt's own pass included."""
        return len(self.tokens) / self.seconds if self.seconds else 0.0


def complete(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: list[int],
    *,
    max_tokens: int,
    sampling: Sampling,
    use_cache: bool = True,
    emit: Callable[[str], None] = lambda text: None,
) -> Completion:
    """Generate until end-of-text, `max_tokens` or a full context; `emit` is given each piece of text."""
    # A token may end within a character, so text comes out as soon as its bytes are complete and not token by token.
    detokenizer = StreamingDetokenizer(tokenizer.token_bytes)
    tokens: list[int] = []
    text = ""
    began = time.perf_counter()
    for token in generate(
        model,
        prompt,
        max_tokens=max_tokens,
        sampling=sampling,
        stop=frozenset({tokenizer.end_of_text}),
        use_cache=use_cache,
    ):
        tokens.append(token)
        piece = detokenizer.push(token)
        text += piece
        emit(piece)
    seconds = time.perf_counter() - began
    # Bytes that never became a character come out last.
    tail = detokenizer.finish()
    emit(tail)
    return Completion(tuple(tokens), text + tail, seconds)


def write_now(piece: str) -> None:
    """Write a piece of streamed text to standard output, where it appears at once and unchanged."""
    sys.stdout.write(piece)
    sys.stdout.flush()


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the prompt as the start of a document: end-of-text comes before it, as it did in training."""
    return [tokenizer.end_of_text, *tokenizer.encode(prompt)]
