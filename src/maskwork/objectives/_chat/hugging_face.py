"""`HuggingFaceTemplate`: a tokenizer's own chat template, with a proof that the scored text is what is generated.

Three renders are compared for a scored message i:

prompt    messages[:i] with the generation prompt     <user>Hi<end><assistant>
through   messages[:i + 1]                            <user>Hi<end><assistant>Hello<end>
text      the full conversation                       <user>Hi<end><assistant>Hello<end><user>...
                                                                             ^^^^^^^^^^ scored
"""

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

    A scored message is the text that the model must write after its prompt at inference: the render of the messages
    before it, with the generation prompt. That holds only for a prefix-stable template, and so, for every scored
    message, a render proves that

    - the prompt begins the render of the messages through the scored one, which begins the render of the conversation;
    - the tokens of the prompt begin the tokens of the conversation.

    Messages that are not scored may be rendered differently beside different messages (parallel tool results often
    are). A first message, or a message of a role that the generation prompt does not open, begins with its content.

    Attributes:
        tokenizer: a fast tokenizer of transformers.
        chat_template: a Jinja template instead of the tokenizer's own.
        ends: the tokens that end a turn; None for the tokenizer's `eos_token`, () where turns have no end.
        variables: further variables of the template, such as `{"enable_thinking": False}`.
    """

    tokenizer: Any
    chat_template: str | None = None
    ends: tuple[str, ...] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)

    def render(self, messages: Sequence[Message], scored: Sequence[bool], tools: Sequence[Any] | None) -> Rendered:
        """Render the conversation as tokens.

        Raises:
            ArgumentError: the template is not prefix-stable at a scored message, tokens merge across the message's
                beginning, the message lacks the end of its turn, or the template refuses the conversation.
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
                        f"a scored message that no generation prompt opens begins with its text, got a template that "
                        f"changes the text of {name}; use one that renders it verbatim"
                    )
                begin = contents[index][0]
            first, last = self._tokens_before(text, begin, ids, name), int(np.searchsorted(starts, end))
            if not ends:  # no special token separates the message from the next: the edge is proved too
                last = self._tokens_before(text, end, ids, name)
            stop = _end_of_turn(ids[first:last], ends, name, self._end_tokens())
            # the message up to its end, the end, and markup after the end
            parts[first:last], owners[first:last] = Part.TEMPLATE, -1
            parts[first : first + stop], owners[first : first + stop] = Part.CONTENT, index
            if ends:
                parts[first + stop], owners[first + stop] = Part.END, index
        return Rendered(ids, parts, owners)

    def _begin(
        self, messages: Sequence[Message], index: int, text: str, tools: Sequence[Any] | None
    ) -> tuple[int | None, int]:
        """Find where a scored message begins (None: with its content) and ends in the text, or raise if unsound."""
        name = _name(messages, index)
        through = self._text(messages[: index + 1], tools)
        if not text.startswith(through):
            raise ArgumentError(
                "the scored text must be what the model would write: a template renders a message the same whatever "
                f"follows, got {name}, which changes when later messages are added; give it weight 0, or use a "
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
                "the scored text must be what the model would write after its prompt, got a render of what precedes "
                f"{name}{', with the generation prompt,' if opened else ''} that does not begin the render through it; "
                "use a template (or variables) where it does, or give the message weight 0"
            )
        return None, len(through)

    def _contents(
        self, messages: Sequence[Message], indices: Sequence[int], text: str, tools: Sequence[Any] | None
    ) -> dict[int, tuple[int, int]] | None:
        """Locate the contents of these messages in the text, as (begin, end); None if the template changes them.

        The conversation is rendered again with a unique mark for each content. The markup between marks is then known,
        and must be the same in both renders:

            marked    <user>MARK0<end><assistant>MARK1<end>
            text      <user>Hi   <end><assistant>Hello<end>
        """
        marks = {i: f"\ue000{i}\ue001" for i in indices if isinstance(messages[i].get("content"), str)}
        # Searching for the contents themselves would match "user" in a header.
        marked = [{**m, "content": marks[i]} if i in marks else m for i, m in enumerate(messages)]
        try:
            marked_text = self._text(marked, tools)
        except ArgumentError:  # a template that reads its messages need not accept our marks
            return None
        places: dict[int, tuple[int, int]] = {}
        cursor = marked_cursor = 0  # the ends of the compared parts of both renders
        for index, mark in marks.items():
            markup, has_mark, _ = marked_text[marked_cursor:].partition(mark)
            if not has_mark or not text.startswith(markup, cursor):
                return None
            begin, content = cursor + len(markup), messages[index]["content"]
            # Many templates strip the content; the longest form that fits is the content in the text.
            forms = (content, content.rstrip(), content.lstrip(), content.strip())
            rendered = next((form for form in forms if text.startswith(form, begin)), None)
            if rendered is None:
                return None
            cursor, marked_cursor = begin + len(rendered), marked_cursor + len(markup) + len(mark)
            places[index] = begin, cursor
        return places if text[cursor:] == marked_text[marked_cursor:] else None

    def _text(self, messages: Sequence[Message], tools: Sequence[Any] | None, generation_prompt: bool = False) -> str:
        """Render messages to text, or raise `ArgumentError` if the template refuses them."""
        import jinja2

        # "weight" is ours, and no part of the conversation.
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
                f"the chat template must render the conversation up to each scored message, got an error for the first "
                f"{len(messages)}: {error}; change the conversation, or give messages weight 0"
            ) from error

    def _encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Encode the text to tokens, int64 (n,), with the offset of each in the text, int64 (n,), never decreasing."""
        if not getattr(self.tokenizer, "is_fast", False):
            raise ArgumentError(
                f"a chat template needs a tokenizer with the offsets of its tokens, got "
                f"{type(self.tokenizer).__name__}; use a fast tokenizer of transformers"
            )
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        # Offsets may step back, at pieces of one character: the maximum so far is taken.
        starts = np.array([begin for begin, _ in encoded["offset_mapping"]], dtype=np.int64)
        return np.array(encoded["input_ids"], dtype=np.int64), np.maximum.accumulate(starts)

    def _tokens_before(self, text: str, offset: int, ids: np.ndarray, name: str) -> int:
        """Count the tokens of `text[:offset]`, which must be the first tokens of the text, or raise."""
        before = np.array(self.tokenizer(text[:offset], add_special_tokens=False)["input_ids"], dtype=np.int64)
        if not np.array_equal(before, ids[: len(before)]):
            raise ArgumentError(
                f"the scored text must begin and end between tokens, got tokens that merge at the edge of {name} after "
                f"{text[max(0, offset - 16) : offset]!r}; use a template whose prompts and turns end with a special "
                "token or a line break"
            )
        return len(before)

    def _end_tokens(self) -> tuple[str, ...]:
        if self.ends is not None:
            return self.ends
        if self.tokenizer.eos_token is None:
            raise ArgumentError(
                "a turn ends with the tokenizer's eos_token unless ends=(…) says otherwise, got a tokenizer without; "
                "pass ends, () where turns have no end"
            )
        return (self.tokenizer.eos_token,)

    def _end_ids(self) -> list[int]:
        vocabulary = self.tokenizer.get_vocab()
        for token in self._end_tokens():
            if token not in vocabulary:
                raise ArgumentError(
                    f"a turn ends with a token of the tokenizer, got {token!r}, which it lacks; pass ends=(…) "
                    "with its tokens, or () where turns have no end"
                )
        return [vocabulary[token] for token in self._end_tokens()]


def _unscored(
    ids: np.ndarray, starts: np.ndarray, contents: dict[int, tuple[int, int]] | None, ends: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return parts and owners of all tokens, as far as the places of the contents determine them."""
    parts = np.full(len(ids), Part.CONTEXT if contents is None else Part.TEMPLATE, dtype=np.uint8)
    owners = np.full(len(ids), -1, dtype=np.int64)
    places = sorted((begin, end, index) for index, (begin, end) in (contents or {}).items())
    limits = [begin for begin, _, _ in places[1:]] + [np.inf]
    for (begin, end, index), limit in zip(places, limits, strict=False):
        # tokens [first, last) are the content; the end of the turn lies before the next content begins
        first, last, stop = np.searchsorted(starts, (begin, end, limit))
        parts[first:last], owners[first:last] = Part.CONTENT, index
        for step in np.flatnonzero(np.isin(ids[last:stop], ends))[:1]:
            parts[last + step], owners[last + step] = Part.END, index
    return parts, owners


def _end_of_turn(body: np.ndarray, ends: Sequence[int], name: str, tokens: Sequence[str]) -> int:
    """Count the tokens of the body before the end of its turn, or raise if there is no end."""
    if not ends:
        return len(body)
    positions = np.flatnonzero(np.isin(body, ends))
    if not len(positions):
        raise ArgumentError(
            f"a scored message ends with the end of its turn, {' or '.join(tokens)}, got {name} without; "
            "pass ends=(…) with the token that the template uses, or () where turns have no end"
        )
    return int(positions[-1])  # the last one: the content may hold others


def _name(messages: Sequence[Message], index: int) -> str:
    return f"message {index} ({messages[index]['role']})"
