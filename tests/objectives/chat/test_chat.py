"""`Chat` with the built-in template against a loop over messages."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, Chat, ChatML, Reason, collate, pad

START, END = 1, 2


def encode(text):
    return [ord(c) for c in text]


TEMPLATE = ChatML(encode, START, END)
USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho!"}


@st.composite
def conversations(draw):
    roles = draw(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), max_size=5))
    roles.insert(draw(st.integers(0, len(roles))), "assistant")
    messages = []
    for role in roles:
        message = {"role": role, "content": draw(st.text("ab \n", max_size=4))}
        if role != "assistant" and draw(st.booleans()):
            message["weight"] = 2.0  # never revives a role that isn't trained
        if role == "assistant":
            message["weight"] = draw(st.sampled_from([None, 0, 0.5, 1.0]))
        messages.append(message)
    if not any(m["role"] == "assistant" and m["weight"] != 0 for m in messages):
        next(m for m in messages if m["role"] == "assistant")["weight"] = 1.0
    return messages


def by_hand(messages, roles, ends):
    """Token by token: (token, how much it counts when predicted, why)."""
    out = []
    for message in messages:
        trained = message["role"] in roles
        weight = 1.0 if message.get("weight") is None else message["weight"]
        out += [(token, 0, Reason.TEMPLATE) for token in [START, *encode(message["role"] + "\n")]]
        said = Reason.SCORED if weight else Reason.ZERO_WEIGHT
        content = (weight, said) if trained else (0, Reason.ROLE_NOT_TRAINED)
        out += [(token, *content) for token in encode(message["content"])]
        if ends == "none" or (ends == "trained" and not trained):
            out.append((END, 0, Reason.TEMPLATE))
        else:
            out.append((END, *content) if trained else (END, 1, Reason.SCORED))
        out.append((ord("\n"), 0, Reason.TEMPLATE))
    return out


@given(
    st.lists(conversations(), min_size=1, max_size=3),
    st.sampled_from([("assistant",), ("assistant", "tool")]),
    st.sampled_from(["trained", "all"]),
    st.sampled_from(["right", "left"]),
)
def test_equals_the_loop(given_conversations, roles, ends, side):
    chat = Chat(TEMPLATE, roles=roles, score_ends=ends)
    batch = collate(pad([chat.example(messages) for messages in given_conversations], side=side))
    length = batch.input_ids.shape[1]
    for b, messages in enumerate(given_conversations):
        rows = by_hand(messages, roles, ends)
        expected = [
            (token, ahead[0] if ahead[1] else IGNORED, float(ahead[1]), ahead[2])
            for (token, *_), ahead in pairwise(rows)
        ]
        expected.append((rows[-1][0], IGNORED, 0.0, Reason.DOCUMENT_END))
        fill = [(0, IGNORED, 0.0, Reason.PADDING)] * (length - len(rows))
        expected = fill + expected if side == "left" else expected + fill
        got = zip(
            *(getattr(batch, name)[b].tolist() for name in ("input_ids", "targets", "weights", "reasons")), strict=True
        )
        assert list(got) == expected


def test_no_ends():
    example = Chat(TEMPLATE, score_ends="none").example([USER, ANSWER])
    assert example.targets[example.weights > 0].tolist() == encode("Ho!")


def test_an_answer_of_nothing_without_its_end_scores_nothing():
    with pytest.raises(ArgumentError, match="token none at all"):
        Chat(TEMPLATE, score_ends="none").example([USER, ANSWER | {"content": ""}])


def test_padding_with_the_end_of_turn_does_not_unscore_it():
    # Token 0 fills rows: here it is also what ends a turn.
    chat = Chat(ChatML(encode, START, 0))
    batch = chat([[USER, ANSWER], [USER, {"role": "assistant", "content": "H"}]])
    for b, content in enumerate(["Ho!", "H"]):
        assert batch.targets[b][batch.scored[b]].tolist() == [*encode(content), 0]


def test_the_mask_is_causal_inside_each_conversation():
    batch = Chat(TEMPLATE)([[USER, ANSWER], [ANSWER]])
    length = batch.input_ids.shape[1]
    dense = batch.mask.bind(length, batch=2).dense()
    real = (batch.document_ids[1] >= 0).numpy()
    assert (dense[1, 0] == ((real[:, None] == real[None]) & np.tri(length, dtype=bool))).all()
    with pytest.raises(ArgumentError, match="shows no later token"):
        Chat(TEMPLATE, mask=mw.full())([[USER, ANSWER]])


def test_a_conversation_that_is_cut_keeps_what_is_left():
    whole = Chat(TEMPLATE).example([USER, ANSWER])
    scored = np.flatnonzero(whole.weights)
    cut = Chat(TEMPLATE, max_len=int(scored[0]) + 2).example([USER, ANSWER])
    assert cut.targets[cut.weights > 0].tolist() == encode("H")
    assert cut.reasons[-1] == Reason.DOCUMENT_END
    assert len(cut) == scored[0] + 2
    with pytest.raises(
        ArgumentError, match=rf"in the first {scored[0] + 1} of .* is token {scored[0] + 1} \(message 1\)"
    ):
        Chat(TEMPLATE, max_len=int(scored[0]) + 1).example([USER, ANSWER])
    assert len(Chat(TEMPLATE, max_len=10_000).example([USER, ANSWER])) == len(whole)


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        ([], "at least one message.* got none"),
        ("hello", "got none"),
        ({"tools": []}, "got none"),
        (USER, "got a message in place of a conversation"),
        ([USER], "of role assistant with a weight above 0, got user"),
        ([ANSWER | {"weight": 0}], "got assistant with weight 0"),
        (["hello"], "got 'hello' as message 0"),
        ([USER, {"content": "x"}], "as message 1"),
        ([USER, {"role": 3}], "as message 1"),
        ([USER, ANSWER | {"weight": -1}], r"weight of message 1 \(assistant\) must be at least 0, got -1"),
        ([USER, ANSWER | {"weight": float("nan")}], "weight of message 1 .* got nan"),
        ([USER, ANSWER | {"weight": "1"}], "weight of message 1 .* got '1'"),
        ([USER, {"role": "assistant", "content": None}], r"got NoneType in message 1 \(assistant\)"),
        ([USER | {"content": chr(END)}, ANSWER], r"got one in message 0 \(user\)"),
        ({"messages": [USER, ANSWER], "tools": [{}]}, "ChatML has no place for tools"),
    ],
)
def test_refuses(conversation, message):
    with pytest.raises(ArgumentError, match=message):
        Chat(TEMPLATE)([conversation])


def test_refuses_other_options():
    with pytest.raises(ArgumentError, match="got 'chatml'; pass ChatML"):
        Chat("chatml")
    with pytest.raises(ArgumentError, match="got 'some'"):
        Chat(TEMPLATE, score_ends="some")
    with pytest.raises(ArgumentError, match="got 'assistant'"):
        Chat(TEMPLATE, roles="assistant")
    with pytest.raises(ArgumentError, match="at least one name"):
        Chat(TEMPLATE, roles=())
    with pytest.raises(ArgumentError, match="at least 2"):
        Chat(TEMPLATE, max_len=1)
