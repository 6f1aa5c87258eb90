"""The result of a chat template: the tokens of a conversation, and the part and the message of each token.

tokens     <start> assistant \n  Hel  lo   <end>  \n
parts      T       T         T   C    C    E      T
messages   -1      -1        -1  1    1    1      -1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from ...data import as_tokens
from ...errors import ArgumentError
from .._arguments import store, token_id

Message = Mapping[str, Any]


class Part(IntEnum):
    """The part of a conversation that a token belongs to."""

    #: Markup: headers, generation prompts, what follows the end of a turn.
    TEMPLATE = 0
    #: The text of a message; of a scored message, all that the model writes before the end of its turn.
    CONTENT = 1
    #: The token that ends a message.
    END = 2
    #: Markup or an unscored message: the template changed the text so that the two can't be told apart.
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
    """A renderer of conversations for `Chat`."""

    def render(self, messages: Sequence[Message], scored: Sequence[bool], tools: Sequence[Any] | None) -> Rendered:
        """Render the conversation as tokens, with exact parts for the scored messages, or raise `ArgumentError`."""
        ...


@dataclass(frozen=True)
class ChatML:
    r"""A built-in template: `start role \n content end \n` for each message (OpenAI's ChatML, 2023).

    Every piece is encoded by itself, so that the tokens before an answer never depend on the answer or on the text
    after it.

    Attributes:
        encode: a function from text to token ids, without tokens that begin or end a text.
        start: the id that begins a message.
        end: the id that ends a turn.

    Raises:
        ArgumentError: an id breaks its rule, the two are equal, or `encode` adds tokens.

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
        store(self, start=token_id(self.start, "start"), end=token_id(self.end, "end"))
        if self.start == self.end:
            raise ArgumentError(f"start and end are two tokens, got {self.start} for both")
        if added := list(self.encode("")):
            raise ArgumentError(
                f"every piece is encoded without tokens that begin or end a text, got {added} for the empty text; "
                "call the tokenizer with add_special_tokens=False"
            )

    def render(self, messages: Sequence[Message], scored: Sequence[bool], tools: Sequence[Any] | None) -> Rendered:
        """Render the conversation as tokens.

        Raises:
            ArgumentError: tools, or a message that isn't plain text.
        """
        if tools:
            raise ArgumentError(
                f"ChatML has no place for tools, got {len(tools)}; describe them in a system message, or use "
                "HuggingFaceTemplate with a template that renders them"
            )
        rows: list[tuple[int, Part, int]] = []
        for index, message in enumerate(messages):
            content = message.get("content")
            if not isinstance(content, str):
                raise ArgumentError(
                    f"ChatML renders messages whose content is a text, got {type(content).__name__} in message "
                    f"{index} ({message['role']}); write it out as text"
                )
            header, text, line_end = (
                as_tokens(self.encode(piece)).tolist() for piece in (f"{message['role']}\n", content, "\n")
            )
            # Text that encodes to the end of a turn would let a user write a turn of the assistant.
            if {self.start, self.end} & {*header, *text}:
                raise ArgumentError(
                    f"a message's role and text never make the tokens that begin or end a turn, got one in message "
                    f"{index} ({message['role']}); encode its text without special tokens"
                )
            rows += [(self.start, Part.TEMPLATE, -1)]
            rows += [(token, Part.TEMPLATE, -1) for token in header]
            rows += [(token, Part.CONTENT, index) for token in text]
            rows += [(self.end, Part.END, index)]
            rows += [(token, Part.TEMPLATE, -1) for token in line_end]
        table = np.array(rows, dtype=np.int64)
        return Rendered(table[:, 0].copy(), table[:, 1].astype(np.uint8), table[:, 2].copy())
