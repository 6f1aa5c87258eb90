"""`HuggingFaceTemplate`: a tokenizer's own chat template, with the proof that what it marks is what is generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import ArgumentError
from .template import Message, Part, Rendered


@dataclass(frozen=True)
class HuggingFaceTemplate:
    """The chat template of a tokenizer of transformers, whether or not it has `{% generation %}`.

    A scored message is what the model must write after the prompt that it is given at inference: the render of the
    messages before it, with the generation prompt. That holds only for a prefix-stable template, and so, for every
    scored message, it is proved that

    - that prompt begins the render of the messages through this one, which begins the render of the whole;
    - the tokens of the prompt begin the tokens of the whole.

    Messages that are not scored may be rendered differently in different company (parallel tool results often are).
    A first message, or one of a role that the generation prompt does not open, begins where its content does.

    Attributes:
        tokenizer: a fast one of transformers.
        chat_template: a Jinja template instead of the tokenizer's own.
        ends: the tokens that end a turn; None for the tokenizer's `eos_token`, () where turns have no end.
        variables: more that the template reads, such as `{"enable_thinking": False}`.
    """

    tokenizer: Any
    chat_template: str | None = None
    ends: tuple[str, ...] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)

    def render(self, messages: Sequence[Message], scored: Sequence[bool], tools: Sequence[Any] | None) -> Rendered:
        """The conversation as tokens.

        Raises:
            ArgumentError: the template is not prefix-stable at a scored message, tokens merge across its beginning,
                it lacks the end of its turn, or the template refuses the conversation.
        """
        text = self._text(messages, tools)
        ids, starts = self._encode(text)
        ends = self._end_ids()
        begins = {
            index: self._begin(messages, index, text, tools) for index, is_scored in enumerate(scored) if is_scored
        }
        prompted = {index for index, (begin, _) in begins.items() if begin is not None}
        contents = self._contents(messages, [i for i in range(len(messages)) if i not in prompted], text, tools)

        parts, owners = _unscored(ids, starts, contents, ends)
        for index, (begin, end) in begins.items():
            name = _name(messages, index)
            if begin is None:
                if contents is None or index not in contents:
                    raise ArgumentError(
                        f"a scored message that no generation prompt opens begins where its text does; the template "
                        f"changes the text of {name}; use one that renders it verbatim"
                    )
                begin = contents[index][0]
            first, last = self._token_at(text, begin, ids, name), int(np.searchsorted(starts, end))
            if not ends:
                last = self._token_at(text, end, ids, name)
            stop = _end_of_turn(ids[first:last], ends, name, self._end_tokens())
            parts[first:last], owners[first:last] = Part.TEMPLATE, -1
            parts[first : first + stop], owners[first : first + stop] = Part.CONTENT, index
            if ends:
                parts[first + stop], owners[first + stop] = Part.END, index
        return Rendered(ids, parts, owners)

    def _begin(
        self, messages: Sequence[Message], index: int, text: str, tools: Sequence[Any] | None
    ) -> tuple[int | None, int]:
        """Where a scored message begins (None: with its content) and ends in the text; raises where that is unsound."""
        name = _name(messages, index)
        through = self._text(messages[: index + 1], tools)
        if not text.startswith(through):
            raise ArgumentError(
                f"what is scored must be what the model would write: a template must render a message alike whatever "
                f"follows it; {name} changes when later messages are added; give it weight 0, or use a "
                "template that keeps it (one that strips earlier reasoning doesn't)"
            )
        if index == 0:  # transformers renders no conversation of no messages
            return None, len(through)
        prompt = self._text(messages[:index], tools, generation_prompt=True)
        if through.startswith(prompt):
            return len(prompt), len(through)
        opened = messages[index]["role"] == "assistant"
        if opened or not through.startswith(self._text(messages[:index], tools)):
            raise ArgumentError(
                f"what is scored must be what the model would write after its prompt; the render of what precedes "
                f"{name}{', with the generation prompt,' if opened else ''} does not begin the render through it; "
                "use a template (or variables) where it does, or give the message weight 0"
            )
        return None, len(through)

    def _contents(
        self, messages: Sequence[Message], which: Sequence[int], text: str, tools: Sequence[Any] | None
    ) -> dict[int, tuple[int, int]] | None:
        """Where the texts of these messages are in the whole text; None where the template changes them."""
        marks = {i: f"\ue000{i}\ue001" for i in which if isinstance(messages[i].get("content"), str)}
        # Searching for the texts themselves would find "user" in a header.
        marked = [{**m, "content": marks[i]} if i in marks else m for i, m in enumerate(messages)]
        try:
            other = self._text(marked, tools)
        except ArgumentError:  # a template that reads its messages need not accept our marks
            return None
        found: dict[int, tuple[int, int]] = {}
        here = there = 0
        for index, mark in marks.items():
            markup, mark_found, _ = other[there:].partition(mark)
            if not mark_found or not text.startswith(markup, here):
                return None
            begin, content = here + len(markup), messages[index]["content"]
            kept = [
                c for c in (content, content.rstrip(), content.lstrip(), content.strip()) if text.startswith(c, begin)
            ]
            if not kept:
                return None
            here, there = begin + len(kept[0]), there + len(markup) + len(mark)
            found[index] = begin, here
        return found if text[here:] == other[there:] else None

    def _text(self, messages: Sequence[Message], tools: Sequence[Any] | None, generation_prompt: bool = False) -> str:
        import jinja2

        plain = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
        try:
            return self.tokenizer.apply_chat_template(
                plain,
                tools=None if tools is None else list(tools),
                chat_template=self.chat_template,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                **self.variables,
            )
        except jinja2.TemplateError as error:
            raise ArgumentError(
                f"the chat template must render the conversation up to each scored message; it refuses the first "
                f"{len(messages)}: {error}; mend the conversation, or give messages weight 0"
            ) from error

    def _encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The tokens, int64 (n,), and where each begins in the text, int64 (n,), never decreasing."""
        if not getattr(self.tokenizer, "is_fast", False):
            raise ArgumentError(
                f"a chat template needs a tokenizer that tells where its tokens are; found "
                f"{type(self.tokenizer).__name__}; use a fast tokenizer of transformers"
            )
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        starts = np.array([begin for begin, _ in encoded["offset_mapping"]], dtype=np.int64)
        return np.array(encoded["input_ids"], dtype=np.int64), np.maximum.accumulate(starts)

    def _token_at(self, text: str, at: int, ids: np.ndarray, name: str) -> int:
        """How many tokens `text[:at]` has, which must be the first of the whole's."""
        before = np.array(self.tokenizer(text[:at], add_special_tokens=False)["input_ids"], dtype=np.int64)
        if not np.array_equal(before, ids[: len(before)]):
            raise ArgumentError(
                f"what is scored must begin and end between tokens; at the edge of {name}, after "
                f"{text[max(0, at - 16) : at]!r}, tokens merge; use a template whose prompts and turns end with a "
                "special token or a line break"
            )
        return len(before)

    def _end_tokens(self) -> tuple[str, ...]:
        if self.ends is not None:
            return self.ends
        if self.tokenizer.eos_token is None:
            raise ArgumentError(
                "a turn ends with the tokenizer's eos_token unless ends=(…) says otherwise; the tokenizer has none; "
                "pass ends, () where turns have no end"
            )
        return (self.tokenizer.eos_token,)

    def _end_ids(self) -> list[int]:
        known = self.tokenizer.get_vocab()
        for token in self._end_tokens():
            if token not in known:
                raise ArgumentError(
                    f"what ends a turn is one token; the tokenizer has no {token!r}; pass ends=(…) with tokens "
                    "that it has, or () where turns have no end"
                )
        return [known[token] for token in self._end_tokens()]


def _unscored(
    ids: np.ndarray, starts: np.ndarray, contents: dict[int, tuple[int, int]] | None, ends: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Parts and owners of all tokens, as far as the texts of the messages tell them."""
    parts = np.full(len(ids), Part.CONTEXT if contents is None else Part.TEMPLATE, dtype=np.uint8)
    owners = np.full(len(ids), -1, dtype=np.int64)
    places = sorted((begin, end, index) for index, (begin, end) in (contents or {}).items())
    limits = [begin for begin, _, _ in places[1:]] + [np.inf]
    for (begin, end, index), limit in zip(places, limits, strict=False):
        first, last, stop = np.searchsorted(starts, (begin, end, limit))
        parts[first:last], owners[first:last] = Part.CONTENT, index
        for place in np.flatnonzero(np.isin(ids[last:stop], ends))[:1]:
            parts[last + place], owners[last + place] = Part.END, index
    return parts, owners


def _end_of_turn(body: np.ndarray, ends: Sequence[int], name: str, tokens: Sequence[str]) -> int:
    """How many tokens of the body stand before the end of its turn."""
    if not ends:
        return len(body)
    found = np.flatnonzero(np.isin(body, ends))
    if not len(found):
        raise ArgumentError(
            f"a scored message ends with the end of its turn, {' or '.join(tokens)}; {name} is rendered without it; "
            "pass ends=(…) with the token that the template uses, or () where turns have no end"
        )
    return int(found[-1])


def _name(messages: Sequence[Message], index: int) -> str:
    return f"message {index} ({messages[index]['role']})"
