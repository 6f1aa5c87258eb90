"""`Chat`: learn to write the messages of some roles, and to end them.

tokens     <start> user Hi <end> <start> assistant Hello there <end>
parts        T      T   C    E      T        T       C     C     E      template, content, end
scored                                       x       x     x            each predicts the next token
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from ..._shared.numbers import finite, integer
from ...data import IGNORED, Example, Reason
from ...errors import ArgumentError
from ...masks import Mask, causal
from .._arguments import store
from .._batches.batch import Batch
from .._batches.collate import collate, pad
from .._causal_lm import refuse_future
from .template import ChatTemplate, Message, Part, Rendered

Conversation = Sequence[Message] | Mapping[str, Any]


@dataclass(frozen=True)
class Chat:
    """The chat objective: a conversation is a document in which the text of the trained roles is scored.

    Scored tokens are known by position, never by id: the ends of turns are scored even if padding has the same id.

    Attributes:
        template: the renderer of conversations: `ChatML` or `HuggingFaceTemplate`.
        roles: the roles whose messages are trained.
        score_ends: whether the token that ends a turn is scored: of "trained" messages, of "all", or of "none".
        max_len: the most tokens of a conversation; the rest is cut off. None cuts nothing.
        mask: what may be seen inside a conversation, the model's own mask; it must show nothing of the future.

    Raises:
        ArgumentError: `template` is no template, `roles` is empty, or an option breaks its rule.

    >>> from maskwork.objectives import ChatML
    >>> chat = Chat(ChatML(lambda text: [ord(c) for c in text], start=1, end=2))
    >>> batch = chat([[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]])
    >>> batch.targets[batch.scored].tolist() == [ord("H"), ord("o"), 2]
    True
    """

    template: ChatTemplate
    roles: tuple[str, ...] = ("assistant",)
    score_ends: Literal["trained", "all", "none"] = "trained"
    max_len: int | None = None
    mask: Mask = field(default_factory=causal)

    def __post_init__(self) -> None:
        if not callable(getattr(self.template, "render", None)):
            raise ArgumentError(
                f"a chat's template renders messages, got {self.template!r:.40}; pass ChatML(…) or "
                "HuggingFaceTemplate(tokenizer)"
            )
        if self.score_ends not in ("trained", "all", "none"):
            raise ArgumentError(f"score_ends must be trained, all or none, got {self.score_ends!r}")
        if isinstance(self.roles, str) or not self.roles:
            raise ArgumentError(f"roles are a tuple of at least one name, got {self.roles!r}; write ('assistant',)")
        if self.max_len is not None:
            # A single token predicts nothing.
            store(self, max_len=integer(self.max_len, "max_len", minimum=2))

    def __call__(self, conversations: Sequence[Conversation], generator: torch.Generator | None = None) -> Batch:
        """Make a batch of conversations, padded on the right; for left padding or packing make examples first.

        Args:
            conversations: B lists of messages `{"role": …, "content": …}`, or mappings with "messages" and "tools".
                A message may have a "weight", a number >= 0: how much its text counts.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: a conversation has another form, nothing in it would be scored, or its template is not
                sound (see the template).
        """
        return collate(pad([self.example(conversation) for conversation in conversations]))

    def example(self, conversation: Conversation, generator: torch.Generator | None = None) -> Example:
        """Make an example of one conversation, ready to be packed or padded; errors are those of a call."""
        messages, tools = _read(conversation)
        weights = np.array([_weight(message, index) for index, message in enumerate(messages)], dtype=np.float32)
        trained = np.array([message["role"] in self.roles for message in messages])
        scored = trained & (weights > 0)
        if not scored.any():
            roles = ", ".join(sorted({message["role"] for message in messages}))
            raise ArgumentError(
                f"a conversation has a message to train, of role {' or '.join(self.roles)} with a weight above 0, "
                f"got {roles}{' with weight 0' if trained.any() else ''}; leave it out or pass other roles"
            )
        rendered = self.template.render(messages, scored.tolist(), tools)
        if self.score_ends == "all":
            _refuse_unknown_ends(rendered, messages)
        token_weights, token_reasons = self._score_tokens(rendered.parts, rendered.messages, trained, weights)
        tokens = rendered.tokens[: self.max_len]
        n = len(tokens)
        targets = np.full(n, IGNORED, dtype=np.int64)
        out = np.zeros(n, dtype=np.float32)
        reasons = np.full(n, Reason.DOCUMENT_END, dtype=np.uint8)
        # A position predicts the token after it: what counts for token i + 1 is stored at position i.
        out[:-1], reasons[:-1] = token_weights[1:n], token_reasons[1:n]
        targets[:-1] = np.where(out[:-1] > 0, tokens[1:], IGNORED)
        if not out.any():
            first = [f"{token} (message {rendered.messages[token]})" for token in np.flatnonzero(token_weights)[:1]]
            raise ArgumentError(
                f"a conversation has a token to score, got none that follows another in the first {n} of "
                f"{len(token_weights)} tokens, the first to score is token {''.join(first) or 'none at all'}; raise "
                "max_len, or leave it out"
            )
        refuse_future(self.mask, n)
        return Example(tokens, targets, out, self.mask, reasons)

    def _score_tokens(
        self, parts: np.ndarray, owners: np.ndarray, trained: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute how much each token counts when it is predicted, float32 (n,), and its `Reason`, uint8 (n,).

        `owners` is the message of each token, `trained` and `weights` are those of the messages.
        """
        # An owner of -1 indexes the last message; its values are not used for parts without an owner.
        is_trained, weight = trained[owners], weights[owners]
        is_content, is_end = parts == Part.CONTENT, parts == Part.END
        counts = np.where(is_content & is_trained, weight, np.float32(0))
        reasons = np.full(len(parts), Reason.TEMPLATE, dtype=np.uint8)
        reasons[parts == Part.CONTEXT] = Reason.CONTEXT
        reasons[is_content & ~is_trained] = Reason.ROLE_NOT_TRAINED
        reasons[is_content & is_trained] = Reason.ZERO_WEIGHT
        if self.score_ends != "none":
            trained_end = is_end & is_trained
            counts[trained_end], reasons[trained_end] = weight[trained_end], Reason.ZERO_WEIGHT
        if self.score_ends == "all":
            counts[is_end & ~is_trained] = 1
        # last, so that a weight above 0 outranks every reason above
        reasons[counts > 0] = Reason.SCORED
        return counts, reasons


def _read(conversation: Conversation) -> tuple[list[Message], Sequence[Any] | None]:
    """Return the messages of a conversation and its tools, or raise `ArgumentError`."""
    if isinstance(conversation, Mapping):
        if "role" in conversation:
            raise ArgumentError(
                "a conversation is a list of messages, and a batch a list of conversations, got a message in place "
                "of a conversation; put one more list round it: [[message, …]]"
            )
        tools, sequence = conversation.get("tools"), conversation.get("messages", ())
    else:
        tools, sequence = None, conversation
    messages = [] if isinstance(sequence, str) else list(sequence)  # a text is a sequence too, of characters
    if not messages:
        raise ArgumentError("a conversation is a list of at least one message, or a mapping with 'messages', got none")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ArgumentError(
                f"a message is a mapping with a 'role' and a 'content', got {message!r:.40} as message {index}; "
                "write {'role': 'user', 'content': '…'}"
            )
    return messages, tools


def _refuse_unknown_ends(rendered: Rendered, messages: Sequence[Message]) -> None:
    """Raise `ArgumentError` if the template hides the end of a message."""
    with_end = rendered.messages[rendered.parts == Part.END]
    for index in sorted(set(range(len(messages))) - set(with_end.tolist())):
        raise ArgumentError(
            f"score_ends='all' scores the end of every message, got message {index} ({messages[index]['role']}), whose "
            "end can't be separated from the template's markup; score trained messages, or render its text verbatim"
        )


def _weight(message: Message, index: int) -> float:
    if message.get("weight") is None:
        return 1.0
    name = f"the weight of message {index} ({message['role']})"
    weight = finite(message["weight"], name)
    if weight < 0:
        raise ArgumentError(f"{name} must be at least 0, got {weight}; leave it out for 1")
    return weight
