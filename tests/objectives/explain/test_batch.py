"""`explain_batch`: the tensors are the truth, every mistake in them is named, and every token can be read."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import maskwork as mw
from maskwork.data import Document, PackedRow, Reason, token_text, train_tokenizer, visible
from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, Batch, CausalLM, explain_batch
from maskwork.objectives._explain.arrays import LEGEND

WORDS = ["<pad>", "The", " cat", " ate\n", "fish", "\tpie"]


def packed() -> Batch:
    """Two documents and padding: every way in which a causal batch can go wrong has its place."""
    return CausalLM()([PackedRow(np.array([1, 2, 3, 4, 5, 2, 0, 0]), (3, 3, 2), 2)])


def changed(batch: Batch, row: int, index: int, **values: float) -> Batch:
    tensors = {name: getattr(batch, name).clone() for name in values}
    for name, value in values.items():
        tensors[name][row, index] = value
    return replace(batch, **tensors)


def reasons(batch: Batch) -> list[str]:
    return [token.reason for row in explain_batch(batch).rows for token in row.tokens]


def said(batch: Batch) -> list[str]:
    return [warning.text for warning in explain_batch(batch).warnings]


def test_every_value_is_that_of_the_tensors():
    batch = CausalLM()([[1, 2, 3], [1, 2, 3, 4, 5]])
    told = explain_batch(batch, WORDS.__getitem__)
    for name, tensor in {
        "id": batch.input_ids, "target": batch.targets, "weight": batch.weights, "document": batch.document_ids,
        "position": batch.position_ids, "scored": batch.scored,
    }.items():  # fmt: skip
        assert [[getattr(token, name) for token in row.tokens] for row in told.rows] == tensor.tolist()
    first = told.rows[0].tokens
    assert [token.text for token in first] == ["The", "␣cat", "␣ate↵", "<pad>", "<pad>"]
    assert [token.target_text for token in first] == ["␣cat", "␣ate↵", "", "", ""]
    assert [token.reason for token in first] == ["SCORED", "SCORED", "DOCUMENT_END", "PADDING", "PADDING"]
    assert told.reasons == {"SCORED": 6, "DOCUMENT_END": 2, "PADDING": 2}
    assert str(told.rows[0].summary) == "2 of 3 tokens scored (66.7%), weight 2, 1 document, 2 padding"
    assert (told.summary.scored, told.summary.weight_sum, told.summary.share) == (6, 6.0, 0.75)
    assert told.warnings == ()


def test_reasons_are_derived_where_none_are_noted():
    batch = packed()
    assert reasons(batch) == reasons(replace(batch, reasons=None))
    assert reasons(batch) == [*["SCORED", "SCORED", "DOCUMENT_END"] * 2, "PADDING", "PADDING"]


@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.data(),
)
def test_whatever_is_noted_the_tensors_win(rows: int, length: int, data: st.DataObject):
    """Random tensors and random notes: a token is told as scored, or as not, exactly as the losses see it."""
    cells = st.lists(st.lists(st.integers(0, 99), min_size=length, max_size=length), min_size=rows, max_size=rows)
    draw = [torch.tensor(data.draw(cells)) for _ in range(5)]
    batch = Batch(
        input_ids=draw[0] % 6,
        targets=torch.where(draw[1] % 3 == 0, IGNORED, draw[1] % 6),
        weights=torch.tensor([0.0, 0.5, 1.0, -1.0, float("nan")])[draw[2] % 5],
        position_ids=torch.arange(length).expand(rows, -1),
        document_ids=draw[3] % 3 - 1,
        mask=mw.causal(),
        reasons=(draw[4] % 20).to(torch.uint8),
    )
    told = explain_batch(batch)
    scored = {"SCORED", "MASKED", "RANDOM", "KEPT"}
    for row in told.rows:
        for token in row.tokens:
            assert token.scored == bool(batch.scored[row.row, token.index]) == (token.reason in scored)
            assert token.reason not in ("DOCUMENT_END", "ZERO_WEIGHT") or token.document >= 0
            if token.document < 0 and not token.scored:
                assert token.reason == "PADDING"
            if token.reason in ("NO_TARGET", "ZERO_WEIGHT", "BAD_WEIGHT"):
                assert (token.target == IGNORED) == (token.reason == "NO_TARGET")
            if token.document < 0 and token.scored:
                assert any(warning.row == row.row and warning.index == token.index for warning in told.warnings)
    assert told.summary.scored == batch.n_targets
    assert told.summary.weight_sum == pytest.approx(batch.weight_sum)
    assert sum(told.reasons.values()) == rows * length
    assert set(told.legend) == set(told.reasons)
    assert Console(file=io.StringIO()).print(told) is None
    json.loads(told.to_json())


def test_changed_weights_and_targets_change_the_reason():
    assert reasons(changed(packed(), 0, 0, weights=0))[0] == "ZERO_WEIGHT"
    assert reasons(changed(packed(), 0, 0, targets=IGNORED))[0] == "NO_TARGET"
    assert reasons(changed(packed(), 0, 0, weights=0, reasons=Reason.CURRICULUM))[0] == "CURRICULUM"
    assert reasons(changed(packed(), 0, 0, reasons=Reason.KEPT))[0] == "SCORED"  # its target is not what it reads
    assert reasons(changed(packed(), 0, 0, reasons=Reason.PADDING))[0] == "SCORED"
    assert reasons(changed(packed(), 0, 7, reasons=Reason.CONTEXT))[7] == "PADDING"
    assert reasons(changed(packed(), 0, 1, targets=IGNORED, reasons=Reason.DOCUMENT_END))[1] == "NO_TARGET"


@pytest.mark.parametrize(
    ("index", "values", "words"),
    [
        (2, {"targets": 4, "weights": 1}, "row 0, position 2: the last of document 0 is scored, and its target is "
         "document 1's first token"),
        (5, {"targets": 0, "weights": 1}, "row 0, position 5: the last of document 1 is scored, and its target is "
         "the padding's token"),
        (7, {"targets": 0, "weights": 1}, "row 0, position 7: a padding position is scored"),
        (0, {"weights": -1}, "row 0, position 0: a weight must be finite and at least 0; it is -1.0"),
        (0, {"weights": float("nan")}, "row 0, position 0: a weight must be finite and at least 0; it is nan"),
        (0, {"targets": -1}, "row 0, position 0: the target -1 is no id"),
        (3, {"position_ids": 3}, "row 0, position 3: a document begins at position 3, not 0"),
        (0, {"reasons": Reason.CONTEXT}, "row 0, position 0: scored, although the objective noted CONTEXT"),
        (0, {"reasons": 77}, "row 0, position 0: scored, although the objective noted unknown (77)"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_warning(index: int, values: dict[str, float], words: str):
    assert said(packed()) == []
    batch = changed(packed(), 0, index, **values)
    assert words in said(batch)
    explanation = explain_batch(batch)
    assert f"WARNING {words}" in explanation.to_text().splitlines()
    assert "WARNING" in explanation.to_text().splitlines()[0]


def test_targets_rolled_over_the_whole_row_are_caught_without_reasons():
    batch = replace(packed(), targets=packed().input_ids.roll(-1, 1), weights=torch.ones(1, 8), reasons=None)
    found = said(batch)
    assert sum("is scored, and its target is" in text for text in found) == 2
    assert sum("a padding position is scored" in text for text in found) == 2


def test_targets_that_are_not_shifted_are_a_warning_of_the_batch():
    batch = replace(packed(), targets=packed().input_ids.where(packed().targets != IGNORED, IGNORED))
    assert said(batch) == ["most targets are the very token that is read there: are they not shifted?"]


def test_a_target_at_the_end_of_a_document_is_no_mistake_by_itself():
    """The last token of a piece of a longer document keeps its target; so does one that a tagger labels."""
    assert not [text for text in said(changed(packed(), 0, 2, targets=5, weights=1)) if "the last of" in text]
    tags = replace(packed(), targets=torch.tensor([[1, 3, 4, 1, 1, 1, -100, -100]]), reasons=None,
                   weights=torch.tensor([[1.0] * 6 + [0.0] * 2]))  # fmt: skip
    assert said(tags) == []


def test_the_mask_is_checked_against_documents_padding_and_targets():
    batch = packed()
    assert said(replace(batch, mask=mw.causal())) == [
        "row 0, position 3: the mask lets document 1 see document 0, at position 0"
    ]
    future = said(replace(batch, mask=mw.within(mw.full(), [3, 3, 2])))
    assert future == [f"row 0, position {i}: the mask shows it the next token, which it predicts" for i in (0, 1, 3, 4)]
    assert said(replace(batch, mask=mw.per_head([batch.mask, mw.full()])))[0].endswith("see document 1, at position 3")
    assert "see padding, at position 6" in said(replace(batch, mask=mw.document(ids=[0, 0, 0, 1, 1, 1, 1, 1])))[0]
    padded = CausalLM()([[1, 2, 3], [1, 2, 3, 4, 5]])
    assert said(replace(padded, mask=mw.causal() & mw.padding([3, 5]))) == []  # what padding sees harms nobody
    short = said(replace(batch, mask=mw.within(mw.causal(), [3])))
    assert short[0].startswith("the attention mask could not be checked: ")


def test_many_warnings_are_counted_and_json_has_all():
    batch = CausalLM()([[1] * 40])
    explanation = explain_batch(replace(batch, weights=-torch.ones(1, 40)))
    lines = explanation.to_text().splitlines()
    assert sum(line.startswith("WARNING") for line in lines) == 20
    assert lines[-1] == "and 20 more warnings; to_json() has all"
    assert len(json.loads(explanation.to_json())["warnings"]) == 40


# What a token looks like.


@given(st.text(), st.text())
def test_what_is_shown_tells_texts_apart(one: str, other: str):
    assert (visible(one) == visible(other)) == (one == other)
    assert visible(one).isprintable() or not visible(one)
    assert not set(visible(one)) & set("⟦⟧‖▒ \n\t\r\x1b")


@given(st.binary(), st.binary())
def test_what_is_shown_tells_bytes_apart(one: bytes, other: bytes):
    assert (visible(one) == visible(other)) == (one == other)


def test_what_has_no_glyph_is_escaped():
    assert visible(" a\tb\r\n") == "␣a⇥b␍↵"
    assert visible("é".encode()[:1] + b"x") == r"\xc3x"
    assert visible("\x1b[31m‮") == r"\x1b[31m\u202e"
    assert visible("\\n") == r"\\n"
    assert visible("\u0301x") == r"\u0301x"  # a combining mark would sit on what stands before it
    assert visible("e\u0301") == "e\u0301"
    assert visible("\U0001f600") == "\U0001f600"


def test_tokenizers_of_every_kind():
    ours = train_tokenizer([Document("a", b"the cat ate\n" * 9)], vocab_size=270)
    text = token_text(ours)
    assert text(ours.end_of_text) == "<|endoftext|>"
    assert text(ours.encode(" ")[0]) == "␣"
    assert {text(i) for i in range(ours.vocab_size)} >= {r"\xe2", "␣cat", "↵"}
    assert text(10**9) == "#1000000000"
    assert token_text({3: "x"}.get)(4) == "#4"
    assert token_text(["a", "b"].__getitem__)(-1) == "#-1"
    with pytest.raises(ArgumentError, match="a callable from an id to its text, or None, got int"):
        explain_batch(packed(), 3)
    with pytest.raises(ArgumentError, match=r"must return the text of an id, .* got list for 1"):
        explain_batch(packed(), lambda token: [token])


def test_tokenizers_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    ours = train_tokenizer([Document("a", b"the cat ate\n" * 9)], vocab_size=270)
    ours.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for token in range(ours.vocab_size):
        assert token_text(theirs)(token) == token_text(ours)(token)
    assert token_text(theirs)(10**6) == "#1000000"
    pieces = {"<unk>": 0, "▁cat": 1, "<0xE2>": 2, "##s": 3}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(pieces, unk_token="<unk>"))
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert [token_text(words)(i) for i in range(4)] == ["<unk>", "␣cat", r"\xe2", "##s"]


# How it is shown.


def test_text_needs_no_colour_and_its_columns_stand_in_line():
    text = explain_batch(CausalLM()([[1, 2, 3], [1, 2, 3, 4]]), [*WORDS[:2], "猫", *WORDS[3:]].__getitem__).to_text()
    assert "\x1b" not in text
    assert "⟦The⟧ ⟦猫⟧ ␣ate↵ ‖ ▒×1" in text
    table = [line for line in text.splitlines() if re.match(r"  +\d", line)]
    assert len(table) == 8
    where = {cell_len(line[: re.search("SCORED|DOCUMENT_END|PADDING", line).start()]) for line in table[:4]}
    assert len(where) == 1
    assert "counts in the loss" in text


def test_running_text_is_broken_between_tokens_and_nothing_is_lost():
    batch = CausalLM()([list(range(1, 60))])
    lines = explain_batch(batch, lambda token: f"word{token}").to_text(width=50).splitlines()
    running = lines[3 : lines.index("", 3)]
    assert len(running) > 1
    assert all(cell_len(line) <= 50 for line in running)
    assert " ".join(running).split() == [f"⟦word{i}⟧" for i in range(1, 59)] + ["word59"]


@pytest.mark.parametrize("width", [20, 80])
def test_a_terminal_gets_colour_and_the_same_words(width: int):
    explanation = explain_batch(packed(), WORDS.__getitem__)
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="standard", width=width, legacy_windows=False).print(
        explanation
    )
    assert "\x1b[1;32m⟦The⟧" in out.getvalue()
    plain = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert re.sub(r"\s", "", plain) == re.sub(r"\s", "", explanation.to_text())


def test_show_prints(capsys: pytest.CaptureFixture[str]):
    explanation = explain_batch(packed(), WORDS.__getitem__)
    explanation.show(200)
    assert capsys.readouterr().out == explanation.to_text(200)
    assert str(explanation) == explanation.to_text()


class Reader(HTMLParser):
    """The text of a page, and that its tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.scored = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scored += tag == "span" and "mw-s" in (dict(attrs).get("class") or "").split()
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def test_html_is_whole_escaped_and_needs_nothing_from_outside():
    explanation = explain_batch(packed(), [*WORDS[:4], "<script>alert('x')</script>&", WORDS[5]].__getitem__)
    page = explanation.to_html()
    reader = Reader(page)
    assert reader.open == []
    assert "<script" not in page
    assert "http" not in page
    assert "<script>alert('x')</script>&" in reader.text
    assert reader.scored == explanation.summary.scored
    assert explanation._repr_html_() in page
    assert "WARNING" not in page
    assert (
        "WARNING row 0, position 7: a padding position is scored"
        in explain_batch(changed(packed(), 0, 7, targets=1, weights=1)).to_html()
    )


def test_json_has_every_value():
    batch = changed(packed(), 0, 0, weights=float("nan"))
    values = json.loads(explain_batch(batch, WORDS.__getitem__).to_json())
    first = values["rows"][0]["tokens"][0]
    assert first == {
        "index": 0, "id": 1, "text": "The", "scored": False, "target": 2, "target_text": "␣cat", "weight": "nan",
        "document": 0, "position": 0, "reason": "BAD_WEIGHT",
    }  # fmt: skip
    assert values["summary"]["scored"] == 3
    assert values["warnings"][0]["row"] == 0
    assert set(values["legend"]) == set(values["reasons"])


def test_labels_name_targets_that_are_no_tokens():
    batch = replace(packed(), targets=torch.tensor([[0, 1, 9, 0, 1, 1, -100, -100]]), weights=torch.ones(1, 8))
    told = explain_batch(batch, WORDS.__getitem__, labels=["DET", "NOUN"]).rows[0].tokens
    assert [token.target_text for token in told] == ["DET", "NOUN", "#9", "DET", "NOUN", "NOUN", "", ""]


def test_every_reason_is_in_the_legend():
    assert {reason.name for reason in Reason} <= set(LEGEND)
