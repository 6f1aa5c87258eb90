"""`Chat` through templates of transformers: agreement with `{% generation %}`, and refusals of unsound ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from maskwork.errors import ArgumentError
from maskwork.objectives import Chat, HuggingFaceTemplate, Reason

transformers = pytest.importorskip("transformers")

#: In the manner of Qwen2.5, with the generation block that TRL's patched templates have.
GENERATION = (
    "{% for m in messages %}"
    "{% if m.role == 'assistant' %}{{ '<s>assistant\n' }}"
    "{% generation %}{{ m.content + '<e>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ '<s>' + m.role + '\n' + m.content + '<e>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)
PLAIN = GENERATION.replace("{% generation %}", "").replace("{% endgeneration %}", "")
USER, ANSWER = {"role": "user", "content": "user"}, {"role": "assistant", "content": "Ho Ho"}


def make_tokenizer(template=PLAIN, eos="<e>", merges=()):
    """Byte-level BPE: a token for each byte, and these merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, *("".join(pair) for pair in merges)])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = {"additional_special_tokens": ["<s>", "<e>", "<t>"], "eos_token": eos, "pad_token": eos}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens(special)
    tokenizer.chat_template = template
    return tokenizer


def scored_text(tokenizer, example):
    """What is scored, one string for each run of scored positions."""
    runs, last = [], -2
    for place in np.flatnonzero(example.weights):
        if place != last + 1:
            runs.append([])
        runs[-1].append(int(example.targets[place]))
        last = place
    return [tokenizer.decode(run) for run in runs]


TOKENIZER = make_tokenizer()
TEXT = st.text("ab é\n<>", max_size=4)


@st.composite
def conversations(draw):
    roles = draw(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=4))
    # A first message cannot be predicted from its start where nothing stands before it.
    messages = [{"role": role, "content": draw(TEXT)} for role in ["system", *roles, "assistant"]]
    messages[-1]["content"] += "x"  # something to score, whatever is said of ends
    return messages


@given(conversations())
def test_agrees_with_generation_blocks_whether_or_not_the_template_has_them(messages):
    theirs = TOKENIZER.apply_chat_template(
        messages, chat_template=GENERATION, return_assistant_tokens_mask=True, return_dict=True
    )
    for template in (GENERATION, PLAIN):
        example = Chat(HuggingFaceTemplate(TOKENIZER, template)).example(messages)
        assert example.tokens.tolist() == theirs["input_ids"]
        predicted = np.array(theirs["assistant_masks"][1:], dtype=bool)
        assert (example.weights[:-1] > 0).tolist() == predicted.tolist()
        assert example.targets[:-1][predicted].tolist() == np.array(theirs["input_ids"][1:])[predicted].tolist()


@given(conversations(), st.sampled_from(["trained", "all", "none"]))
def test_equals_the_loop_over_messages(messages, ends):
    rows = []
    for message in messages:
        trained = message["role"] == "assistant"
        spoken = (1.0, Reason.SCORED) if trained else (0.0, Reason.ROLE_NOT_TRAINED)
        ended = ends == "all" or (ends == "trained" and trained)
        end = (1.0, Reason.SCORED) if ended else (0.0, Reason.TEMPLATE)
        pieces = [(f"<s>{message['role']}\n", (0.0, Reason.TEMPLATE)), (message["content"], spoken), ("<e>", end)]
        for text, why in [*pieces, ("\n", (0.0, Reason.TEMPLATE))]:
            rows += [(token, *why) for token in TOKENIZER(text)["input_ids"]]
    example = Chat(HuggingFaceTemplate(TOKENIZER), score_ends=ends).example(messages)
    assert example.tokens.tolist() == [token for token, *_ in rows]
    assert example.weights[:-1].tolist() == [weight for _, weight, _ in rows[1:]]
    assert example.reasons[:-1].tolist() == [why for *_, why in rows[1:]]


def test_the_text_of_a_message_may_be_the_name_of_its_role():
    example = Chat(HuggingFaceTemplate(TOKENIZER)).example([USER, ANSWER])
    spoken = [int(t) for t, r in zip(example.tokens[1:], example.reasons, strict=False) if r == Reason.ROLE_NOT_TRAINED]
    assert TOKENIZER.decode(spoken) == "user"
    header = TOKENIZER("<s>user\n")["input_ids"]
    assert (example.reasons[len(header) - 1 :][: len(spoken)] == Reason.ROLE_NOT_TRAINED).all()
    assert scored_text(TOKENIZER, Chat(HuggingFaceTemplate(TOKENIZER), roles=("user",)).example([ANSWER, USER])) == [
        "user<e>"
    ]


def test_an_answer_that_comes_first_leaves_the_user_unscored():
    # transformers #47325: a generation block that ends at token 0 marks the whole rest.
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ '<s>' + m.content }}{% endif %}{% endfor %}"
    )
    messages = [{"role": "assistant", "content": "A"}, {"role": "user", "content": "user message"}]
    with pytest.raises(ArgumentError, match="a token to score"):
        Chat(HuggingFaceTemplate(TOKENIZER, template, ends=())).example(messages)
    messages[0]["content"] = "ABC "
    example = Chat(HuggingFaceTemplate(TOKENIZER, template, ends=())).example(messages)
    assert scored_text(TOKENIZER, example) == ["BC "]


def test_no_generation_block_is_needed():
    # transformers #34172, trl #4201: without one the mask comes out empty.
    example = Chat(HuggingFaceTemplate(TOKENIZER)).example([USER, ANSWER, USER, ANSWER | {"content": "Hi"}])
    assert scored_text(TOKENIZER, example) == ["Ho Ho<e>", "Hi<e>"]


def test_padding_with_the_end_of_turn_does_not_unscore_it():
    assert TOKENIZER.pad_token_id == TOKENIZER.eos_token_id
    batch = Chat(HuggingFaceTemplate(TOKENIZER))([[USER, ANSWER], [USER, ANSWER | {"content": "H"}]])
    assert [TOKENIZER.decode(batch.targets[b][batch.scored[b]].tolist()) for b in (0, 1)] == ["Ho Ho<e>", "H<e>"]


def test_a_system_prompt_and_tools_that_the_template_adds_are_not_scored():
    template = "{{ '<s>system\nDefault' }}{% if tools %}{{ tools | tojson }}{% endif %}{{ '<e>\n' }}" + PLAIN
    tools = [{"type": "function", "function": {"name": "f", "description": "x", "parameters": {}}}]
    example = Chat(HuggingFaceTemplate(TOKENIZER, template)).example({"messages": [USER, ANSWER], "tools": tools})
    assert scored_text(TOKENIZER, example) == ["Ho Ho<e>"]
    assert '"name": "f"' in TOKENIZER.decode(example.tokens)


#: As Qwen's: neighbouring results of tools share one turn, so the render of the first is no prefix of both.
TOOLS = (
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}"
    "{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<s>user' }}{% endif %}"
    "{{ '\n<r>' + m.content + '</r>' }}"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<e>\n' }}{% endif %}"
    "{% else %}{{ '<s>' + m.role + '\n' }}{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}{{ '<t>' + call.function.name }}{% endfor %}{{ '<e>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def test_calls_of_tools_are_scored_and_their_results_are_not():
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2"},
        ANSWER,
    ]
    example = Chat(HuggingFaceTemplate(TOKENIZER, TOOLS)).example(messages)
    assert scored_text(TOKENIZER, example) == ["<t>f<t>f<e>", "Ho Ho<e>"]
    shared = [i for i, m in enumerate(messages) if m["role"] == "tool"]
    with pytest.raises(ArgumentError, match=rf"message {shared[0]} \(tool\)"):
        Chat(HuggingFaceTemplate(TOKENIZER, TOOLS), score_ends="all").example(messages)


#: As Qwen3's: reasoning is kept in the last answer only.
THINK = (
    "{% for m in messages %}{{ '<s>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}{{ '<e>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def test_a_template_that_strips_earlier_reasoning_is_refused_by_name():
    thought = {"role": "assistant", "content": "<think>hm</think>yes"}
    chat = Chat(HuggingFaceTemplate(TOKENIZER, THINK))
    with pytest.raises(ArgumentError, match=r"message 1 \(assistant\), which changes when later messages are added"):
        chat.example([USER, thought, USER, thought])
    example = chat.example([USER, thought | {"weight": 0}, USER, thought])
    assert scored_text(TOKENIZER, example) == ["<think>hm</think>yes<e>"]
    assert TOKENIZER.decode(example.tokens).count("<think>") == 1
    assert scored_text(TOKENIZER, chat.example([USER, thought])) == ["<think>hm</think>yes<e>"]


def test_a_prompt_that_the_answer_does_not_continue_is_refused():
    head, tail = PLAIN.rsplit("\n", 1)
    opens = head + "\n<think>" + tail
    with pytest.raises(ArgumentError, match=r"precedes message 1 \(assistant\), with the generation prompt"):
        Chat(HuggingFaceTemplate(TOKENIZER, opens)).example([USER, ANSWER])
    example = Chat(HuggingFaceTemplate(TOKENIZER, opens)).example([USER, ANSWER | {"content": "<think>x"}])
    assert scored_text(TOKENIZER, example) == ["x<e>"]


def test_a_template_that_moves_the_tail_is_refused():
    last = "{% for m in messages %}{{ '[LAST]' if loop.last else '' }}{{ m.content + '<e>' }}{% endfor %}"
    with pytest.raises(ArgumentError, match=r"message 1 \(assistant\), which changes when later messages are added"):
        Chat(HuggingFaceTemplate(TOKENIZER, last)).example([USER, ANSWER, USER])
    with pytest.raises(ArgumentError, match=r"precedes message 1 \(assistant\)"):
        Chat(HuggingFaceTemplate(TOKENIZER, last)).example([USER, ANSWER])


def test_tokens_that_merge_with_the_prompt_are_refused():
    template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + '<e>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    merging = make_tokenizer(template, merges=[("Ġ", "H")])
    with pytest.raises(ArgumentError, match=r"merge at the edge of message 1 \(assistant\) after .*assistant: '"):
        Chat(HuggingFaceTemplate(merging)).example([USER, ANSWER])
    # The same template is sound where nothing merges.
    example = Chat(HuggingFaceTemplate(merging)).example([USER, ANSWER | {"content": "x"}])
    assert scored_text(merging, example) == ["x<e>"]


def test_a_template_without_a_prompt_leaves_the_header_to_the_model():
    template = "{% for m in messages %}{{ m.role + ':' + m.content + '<e>' }}{% endfor %}"
    example = Chat(HuggingFaceTemplate(TOKENIZER, template)).example([USER, ANSWER])
    assert scored_text(TOKENIZER, example) == ["assistant:Ho Ho<e>"]


def test_turns_that_end_otherwise():
    other = make_tokenizer(eos="<t>")
    with pytest.raises(ArgumentError, match=r"<t>, got message 1 \(assistant\) without"):
        Chat(HuggingFaceTemplate(other)).example([USER, ANSWER])
    assert scored_text(other, Chat(HuggingFaceTemplate(other, ends=("<e>", "<t>"))).example([USER, ANSWER])) == [
        "Ho Ho<e>"
    ]
    assert scored_text(other, Chat(HuggingFaceTemplate(other, ends=())).example([USER, ANSWER])) == ["Ho Ho<e>\n"]
    other.eos_token = None
    with pytest.raises(ArgumentError, match="got a tokenizer without; pass ends"):
        Chat(HuggingFaceTemplate(other)).example([USER, ANSWER])
    with pytest.raises(ArgumentError, match=r"<e>, got message 1 \(assistant\) without"):
        Chat(HuggingFaceTemplate(TOKENIZER, "{{ '' }}")).example([USER, ANSWER])
    with pytest.raises(ArgumentError, match="got '<nothing>', which it lacks"):
        Chat(HuggingFaceTemplate(other, ends=("<nothing>",))).example([USER, ANSWER])


def test_an_end_of_another_message_is_never_scored_as_this_ones():
    # The user's text is not found (a list of parts), and its end follows a scored answer.
    template = (
        "{% for m in messages %}{{ '<s>' + m.role + '\n' }}{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}{{ '<e>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
    )
    parts = {"role": "user", "content": [{"type": "text", "text": "seen"}]}
    example = Chat(HuggingFaceTemplate(TOKENIZER, template)).example([USER, ANSWER, parts, ANSWER])
    assert scored_text(TOKENIZER, example) == ["Ho Ho<e>", "Ho Ho<e>"]


def test_a_template_that_changes_a_text_that_is_not_scored():
    upper = PLAIN.replace("m.role + '\n' + m.content", "m.role + '\n' + m.content | upper")
    example = Chat(HuggingFaceTemplate(TOKENIZER, upper)).example([USER, ANSWER])
    assert scored_text(TOKENIZER, example) == ["Ho Ho<e>"]
    assert Reason.CONTEXT in example.reasons
    assert Reason.ROLE_NOT_TRAINED not in example.reasons
    with pytest.raises(ArgumentError, match=r"changes the text of message 1 \(user\)"):
        Chat(HuggingFaceTemplate(TOKENIZER, upper), roles=("user",)).example([ANSWER, USER])


def test_a_refusal_of_the_template_is_said():
    alternating = "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}" + PLAIN
    with pytest.raises(ArgumentError, match="error for the first 1: user first"):
        Chat(HuggingFaceTemplate(TOKENIZER, alternating)).example([ANSWER])


def test_variables_reach_the_template():
    template = PLAIN.replace("{{ '<s>assistant\n' }}{% endif %}", "{{ '<s>assistant\n' + extra }}{% endif %}", 1)
    variable = HuggingFaceTemplate(TOKENIZER, "{{ greeting }}" + template, variables={"greeting": "Ave", "extra": ""})
    example = Chat(variable).example([USER | {"weight": 3}, ANSWER])
    assert TOKENIZER.decode(example.tokens).startswith("Ave<s>user")


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False
        apply_chat_template = TOKENIZER.apply_chat_template

    with pytest.raises(ArgumentError, match="got Slow; use a fast tokenizer"):
        Chat(HuggingFaceTemplate(Slow(), PLAIN)).example([USER, ANSWER])
