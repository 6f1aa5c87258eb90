"""`Chat`: learn to write the messages of some roles, and to end them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from ...data import IGNORED, Example, Reason
from ...errors import ArgumentError
from ...masks import Mask, causal
from .._batches.batch import Batch
from .._batches.collate import collate, pad
from .._causal_lm import refuse_future
from .template import ChatTemplate, Message, Part, Rendered

Conversation = Sequence[Message] | Mapping[str, Any]


@dataclass(frozen=True)
class Chat:
    """A conversation is a document; what is scored in it is what the trained roles write.

    What is scored is known by position, never by a token's id: where padding has the id of the end of a turn, the ends
    of turns are scored all the same.

    Attributes:
        template: what renders conversations: `ChatML` or `HuggingFaceTemplate`.
        roles: whose messages are trained.
        score_ends: whether the token that ends a turn is scored: of "trained" messages, of "all", or of "none".
        max_len: the most tokens of a conversation; the rest is cut off.
        mask: what may be seen inside a conversation, the model's own mask; it must show nothing of the future.

    Raises:
        ArgumentError: something else than a template, no roles, or an option that breaks its rule.

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
                f"a chat's template renders messages; found {self.template!r:.40}; pass ChatML(…) or "
                "HuggingFaceTemplate(tokenizer)"
            )
        if self.score_ends not in ("trained", "all", "none"):
            raise ArgumentError(f"score_ends is trained, all or none; found {self.score_ends!r}; pass one of them")
        if isinstance(self.roles, str) or not self.roles:
            raise ArgumentError(f"roles are a tuple of at least one name; found {self.roles!r}; write ('assistant',)")
        if self.max_len is not None and self.max_len < 2:
            raise ArgumentError(f"max_len is at least 2, or None; found {self.max_len}; raise it")

    def __call__(self, conversations: Sequence[Conversation], generator: torch.Generator | None = None) -> Batch:
        """The batch of these conversations, padded on the right; for left padding or packing make examples first.

        Args:
            conversations: B lists of messages `{"role": …, "content": …}`, or mappings with "messages" and "tools".
                A message may have a "weight", a number >= 0: how much what it says counts.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: a conversation is not of that form, nothing in it would be scored, or its template is not
                sound (see the template).
        """
        return collate(pad([self.example(conversation) for conversation in conversations]))

    def example(self, conversation: Conversation, generator: torch.Generator | None = None) -> Example:
        """One conversation, ready to be packed or padded; the arguments and errors are those of a call."""
        messages, tools = _read(conversation)
        weights = np.array([_weight(message, index) for index, message in enumerate(messages)], dtype=np.float32)
        trained = np.array([message["role"] in self.roles for message in messages])
        scored = trained & (weights > 0)
        if not scored.any():
            found = ", ".join(sorted({message["role"] for message in messages}))
            raise ArgumentError(
                f"a conversation has a message to train, of role {' or '.join(self.roles)} with a weight above 0; "
                f"found {found}{' with weight 0' if trained.any() else ''}; leave it out or pass other roles"
            )
        rendered = self.template.render(messages, scored.tolist(), tools)
        if self.score_ends == "all":
            _refuse_unknown_ends(rendered, messages)
        counts, why = self._judge(rendered.parts, rendered.messages, trained, weights)
        kept = rendered.tokens[: self.max_len]
        targets = np.full(len(kept), IGNORED, dtype=np.int64)
        out = np.zeros(len(kept), dtype=np.float32)
        reasons = np.full(len(kept), Reason.DOCUMENT_END, dtype=np.uint8)
        # A position predicts the token after it.
        out[:-1], reasons[:-1] = counts[1 : len(kept)], why[1 : len(kept)]
        targets[:-1] = np.where(out[:-1] > 0, kept[1:], IGNORED)
        if not out.any():
            where = [f"{at} (message {rendered.messages[at]})" for at in np.flatnonzero(counts)[:1]]
            raise ArgumentError(
                f"a conversation has a token to score; found none that follows another in the first {len(kept)} of "
                f"{len(counts)} tokens, the first to score is token {''.join(where) or 'none at all'}; raise max_len, "
                "or leave it out"
            )
        refuse_future(self.mask, len(kept))
        return Example(kept, targets, out, self.mask, reasons)

    def _judge(
        self, parts: np.ndarray, owners: np.ndarray, trained: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How much each token counts when it is predicted, float32 (n,), and why, uint8 (n,)."""
        # An owner of -1 reads the last message; the parts without an owner never look at it.
        own, weight = trained[owners], weights[owners]
        counts = np.where((parts == Part.CONTENT) & own, weight, np.float32(0))
        reasons = np.full(len(parts), Reason.TEMPLATE, dtype=np.uint8)
        reasons[parts == Part.CONTEXT] = Reason.CONTEXT
        reasons[(parts == Part.CONTENT) & ~own] = Reason.ROLE_NOT_TRAINED
        reasons[(parts == Part.CONTENT) & own] = Reason.ZERO_WEIGHT
        if self.score_ends != "none":
            ended = (parts == Part.END) & own
            counts[ended], reasons[ended] = weight[ended], Reason.ZERO_WEIGHT
        if self.score_ends == "all":
            counts[(parts == Part.END) & ~own] = 1
        reasons[counts > 0] = Reason.SCORED
        return counts, reasons


def _read(conversation: Conversation) -> tuple[list[Message], Sequence[Any] | None]:
    if isinstance(conversation, Mapping):
        if "role" in conversation:
            raise ArgumentError(
                "a conversation is a list of messages, and a batch a list of conversations; found a message in place "
                "of a conversation; put one more list round it: [[message, …]]"
            )
        tools, given = conversation.get("tools"), conversation.get("messages", ())
    else:
        tools, given = None, conversation
    messages = [] if isinstance(given, str) else list(given)
    if not messages:
        raise ArgumentError(
            "a conversation is a list of messages, or a mapping with 'messages'; found none; pass at least one message"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ArgumentError(
                f"a message is a mapping with a 'role' and a 'content'; found {message!r:.40} as message {index}; "
                "write {'role': 'user', 'content': '…'}"
            )
    return messages, tools


def _refuse_unknown_ends(rendered: Rendered, messages: Sequence[Message]) -> None:
    ended = rendered.messages[rendered.parts == Part.END]
    for index in sorted(set(range(len(messages))) - set(ended.tolist())):
        raise ArgumentError(
            f"score_ends='all' scores the end of every message; that of message {index} ({messages[index]['role']}) "
            "can't be told from the template's markup; score those of trained messages, or render its text verbatim"
        )


def _weight(message: Message, index: int) -> float:
    weight = message.get("weight")
    if weight is None:
        return 1.0
    if isinstance(weight, (int, float)) and math.isfinite(weight) and weight >= 0:
        return float(weight)
    raise ArgumentError(
        f"a message's weight is a finite number >= 0; found {weight!r:.40} in message {index} "
        f"({message['role']}); correct it, or leave it out for 1"
    )
