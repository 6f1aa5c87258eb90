"""`ChatML`: its two tokens and its tokenizer are checked, and no text can write a turn."""

import pytest

from maskwork.errors import ArgumentError
from maskwork.objectives import Chat, ChatML


def test_a_tokenizer_that_adds_a_beginning_to_each_piece_is_refused():
    with pytest.raises(ArgumentError, match="add_special_tokens=False"):
        ChatML(lambda text: [9, *map(ord, text)], start=1, end=2)
    with pytest.raises(ArgumentError, match="two tokens"):
        ChatML(lambda text: [*map(ord, text)], start=2, end=2)


@pytest.mark.parametrize("message", [{"role": "a\x02", "content": "x"}, {"role": "a", "content": "\x01"}])
def test_neither_role_nor_text_can_begin_or_end_a_turn(message):
    with pytest.raises(ArgumentError, match="never make"):
        Chat(ChatML(lambda text: [*map(ord, text)], start=1, end=2), roles=(message["role"],))([[message]])


@pytest.mark.parametrize("token", [-1, 1.5])
def test_what_a_chats_tokenizer_gives_is_checked(token):
    with pytest.raises(ArgumentError, match="flat sequence of token ids"):
        Chat(ChatML(lambda text: [token] * len(text), 1, 2))([[{"role": "assistant", "content": "x"}]])
