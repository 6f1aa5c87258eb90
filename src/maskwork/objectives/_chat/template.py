"""What a chat template gives `Chat`: the tokens of a conversation, and which part of which message each one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from ...data import as_tokens
from ...errors import ArgumentError

Message = Mapping[str, Any]


class Part(IntEnum):
    """What a token is in its conversation."""

    #: Markup: headers, generation prompts, what follows the end of a turn.
    TEMPLATE = 0
    #: What a message says; of a scored message, all that the model writes before the end of its turn.
    CONTENT = 1
    #: The token that ends a message.
    END = 2
    #: Markup or a message that isn't scored: the template changed the text so that they can't be told apart.
    CONTEXT = 3


@dataclass(frozen=True, eq=False)
class Rendered:
    """A conversation of n tokens.

    Attributes:
        tokens: (n,) int64.
        parts: (n,) uint8, a `Part` for each.
        messages: (n,) int64, the message that a content or an end belongs to, counted from 0; -1 elsewhere.
    """

    tokens: np.ndarray
    parts: np.ndarray
    messages: np.ndarray


class ChatTemplate(Protocol):
    """What renders conversations for `Chat`."""

    def render(self, messages: Sequence[Message], scored: Sequence[bool], tools: Sequence[Any] | None) -> Rendered:
        """The conversation as tokens, where the scored messages' parts are exact, or an `ArgumentError`."""
        ...


@dataclass(frozen=True)
class ChatML:
    r"""A built-in template: `start role \n content end \n` for each message (OpenAI's ChatML, 2023).

    Every piece is encoded by itself, so what precedes an answer never depends on the answer or on what follows it.

    Attributes:
        encode: text to token ids, without any that begin or end a text.
        start: the id that begins a message.
        end: the id that ends a turn.

    >>> from maskwork.objectives import Chat
    >>> chat = Chat(ChatML(lambda text: [ord(c) for c in text], start=1, end=2))
    >>> example = chat.example([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
    >>> example.targets[example.weights > 0].tolist()
    [72, 111, 2]
    """

    encode: Callable[[str], Sequence[int]]
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ArgumentError(f"start and end are two tokens; found {self.start} for both; give each its own")
        if added := list(self.encode("")):
            raise ArgumentError(
                f"every piece is encoded without tokens that begin or end a text; encode makes {added} of no text; "
                "call the tokenizer with add_special_tokens=False"
            )

    def render(self, messages: Sequence[Message], scored: Sequence[bool], tools: Sequence[Any] | None) -> Rendered:
        """The conversation as tokens; raises `ArgumentError` for tools, and for a message that isn't plain text."""
        if tools:
            raise ArgumentError(
                "ChatML has no place for tools; found some; describe them in a system message, or use "
                "HuggingFaceTemplate with a template that renders them"
            )
        rows: list[tuple[int, Part, int]] = []
        for index, message in enumerate(messages):
            content = message.get("content")
            if not isinstance(content, str):
                raise ArgumentError(
                    f"ChatML renders messages whose content is a text; found {type(content).__name__} in message "
                    f"{index} ({message['role']}); write it out as text"
                )
            header, said, line_end = (
                as_tokens(self.encode(text)).tolist() for text in (f"{message['role']}\n", content, "\n")
            )
            if {self.start, self.end} & {*header, *said}:
                raise ArgumentError(
                    f"a message's role and text never make the tokens that begin or end a turn; message {index} "
                    f"({message['role']}) does; encode its text without special tokens"
                )
            rows += [(self.start, Part.TEMPLATE, -1)]
            rows += [(token, Part.TEMPLATE, -1) for token in header]
            rows += [(token, Part.CONTENT, index) for token in said]
            rows += [(self.end, Part.END, index)]
            rows += [(token, Part.TEMPLATE, -1) for token in line_end]
        table = np.array(rows, dtype=np.int64)
        return Rendered(table[:, 0].copy(), table[:, 1].astype(np.uint8), table[:, 2].copy())
