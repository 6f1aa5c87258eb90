"""Every text comes back from its tokens, none makes the special token, a damaged file gives one line."""

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from maskwork.data import Document, Tokenizer, train_tokenizer
from maskwork.data._tokenizer.alphabet import BYTE_OF
from maskwork.data._tokenizer.tokenizer import text_pieces
from maskwork.errors import ArgumentError, DataError

TEXT = "def read_file(path):\n    return open(path).read()\n\n# déjà vu <|endoftext|> 𝄞\n" * 3
TOKENIZER = train_tokenizer([Document("a.py", TEXT.encode())], vocab_size=320)

# Everything that separates pre-tokens somewhere: what \s means differs between Python and the backend.
SPACES = " \n\t\r\x1c\x85\xa0\u180e\u200b\u2028\u3000"
WORDS = ["<|endoftext|>", "<|", "a", "def", "é", "e\u0301", "𝄞", "1", "_", "'s", "\ufeff", "\x00", "\ufffd"]
odd_text = st.lists(st.sampled_from([*SPACES, *WORDS])).map("".join)
texts = st.one_of(st.text(), odd_text)


@given(texts)
def test_decoding_gives_the_text_back(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert b"".join(map(TOKENIZER.token_bytes, ids)) == text.encode()
    assert TOKENIZER.end_of_text not in ids
    assert all(0 <= token_id < TOKENIZER.vocab_size for token_id in ids)


@given(texts, st.integers(1, 6))
def test_encoding_in_pieces_is_encoding_the_whole(text: str, length: int) -> None:
    pieces = list(text_pieces(text, length))
    assert "".join(pieces) == text
    assert all(pieces)
    whole = TOKENIZER._backend.encode(text, add_special_tokens=False).ids
    assert [token_id for piece in pieces for token_id in TOKENIZER.encode(piece)] == whole


def test_a_long_text_is_cut_into_pieces_and_one_without_spaces_is_not() -> None:
    text = TEXT * 2000
    assert len(list(text_pieces(text))) > 2
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert list(text_pieces("x" * 200_000)) == ["x" * 200_000]
    assert TOKENIZER.encode("") == []


def test_a_document_is_framed_by_the_special_token() -> None:
    end = TOKENIZER.end_of_text
    assert TOKENIZER.encode_document("def") == [end, *TOKENIZER.encode("def"), end]
    assert TOKENIZER.encode_document("") == [end, end]
    assert TOKENIZER.decode(TOKENIZER.encode_document("def")) == "def"


def test_no_space_is_added_in_front() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("def")) == "def"
    assert TOKENIZER.encode("def") != TOKENIZER.encode(" def")


def test_token_bytes_cover_every_byte_and_the_special_token_has_none() -> None:
    assert TOKENIZER.token_bytes(TOKENIZER.end_of_text) == b""
    pieces = [TOKENIZER.token_bytes(token_id) for token_id in range(TOKENIZER.vocab_size)]
    assert {bytes([byte]) for byte in range(256)} <= set(pieces)
    assert len(set(pieces)) == TOKENIZER.vocab_size
    assert sorted(BYTE_OF.values()) == list(range(256))
    assert set(BYTE_OF) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def test_ids_that_split_a_character_decode_with_replacements() -> None:
    first, *_ = [i for i in range(TOKENIZER.vocab_size) if TOKENIZER.token_bytes(i) == b"\xf0"]
    assert TOKENIZER.decode([first]) == "\ufffd"


@pytest.mark.parametrize("token_id", [-1, TOKENIZER.vocab_size, 10**9, True, 1.5])
def test_an_unknown_id_is_refused(token_id: float) -> None:
    with pytest.raises(ArgumentError, match=f"got {token_id}"):
        TOKENIZER.token_bytes(token_id)
    with pytest.raises(ArgumentError):
        TOKENIZER.decode([token_id])


@pytest.mark.parametrize("text", ["\ud800", "ab\udfff", "\ud83d\ude00"])
def test_a_lone_surrogate_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"lone surrogate U\+D[8-F].. at position") as caught:
        TOKENIZER.encode(text)
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")  # the message itself can be printed


@pytest.mark.parametrize("text", [b"def", None, 3, ["def"]])
def test_what_is_not_text_is_refused(text: object) -> None:
    with pytest.raises(ArgumentError, match="encodes a str"):
        TOKENIZER.encode(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("again", ["save", "json", "pickle", "copy"])
def test_it_survives_every_way_of_being_passed_on(again: str, tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    other = {
        "save": lambda: Tokenizer.from_file(tmp_path / "tokenizer.json"),
        "json": lambda: Tokenizer.from_json(TOKENIZER.to_json()),
        "pickle": lambda: pickle.loads(pickle.dumps(TOKENIZER)),
        "copy": lambda: copy.deepcopy(TOKENIZER),
    }[again]()
    assert other.to_json() == TOKENIZER.to_json()
    assert other.digest == TOKENIZER.digest
    assert other.encode(TEXT) == TOKENIZER.encode(TEXT)  # the special token's spelling included
    assert (other.vocab_size, other.end_of_text) == (TOKENIZER.vocab_size, TOKENIZER.end_of_text)
    assert repr(other) == repr(TOKENIZER)


def test_the_file_is_one_that_hugging_face_reads_the_same_way() -> None:
    theirs = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    text = TEXT.replace("<|endoftext|>", "")
    assert theirs.encode(text).ids == TOKENIZER.encode(text)
    assert theirs.decode(theirs.encode(text).ids) == text
    assert theirs.token_to_id("<|endoftext|>") == TOKENIZER.end_of_text


def test_the_digest_tells_tokenizers_apart() -> None:
    other = train_tokenizer([Document("a.py", TEXT.encode())], vocab_size=300)
    assert other.digest != TOKENIZER.digest


def refused(text: str) -> str:
    with pytest.raises(DataError) as caught:
        Tokenizer.from_json(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_cut_anywhere_is_refused() -> None:
    text = TOKENIZER.to_json()
    for length in range(0, len(text.rstrip()), 97):
        assert "not JSON" in refused(text[:length])


def change(keys: str, value: Any) -> str:
    fields = json.loads(TOKENIZER.to_json())
    *path, last = keys.split("/")
    inner = fields
    for key in path:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("keys", "value", "found"),
    [
        ("model", None, "no model"),
        ("model", [], "no model"),
        ("model/type", "WordPiece", "another type"),
        ("model/vocab", None, "no vocabulary"),
        ("model/vocab", [], "no vocabulary"),
        ("model/merges", None, "no merges"),
        ("model/merges", {}, "no merges"),
        ("model/vocab/a", None, "without a gap"),
        ("model/vocab/a", 5, "without a gap"),
        ("model/vocab/a", "5", "without a gap"),
        ("model/vocab/a", True, "without a gap"),
        ("model/vocab/日本", TOKENIZER.vocab_size, "'日本'"),
        ("model/vocab/", TOKENIZER.vocab_size, "spells no bytes"),
        ("model/merges", ["a"], "the merge"),
        ("model/merges", [["a", 1]], "the merge"),
        ("model/merges", [["a", "zzz"]], "the merge"),
        ("model/merges", ["a zzz"], "the merge"),
        ("model/merges", [None], "the merge"),
        ("model/merges", [["<|endoftext|", ">"]], "the merge"),
        ("model/dropout", 0.5, "dropout"),
        ("model/unk_token", "a", "unk_token"),
        ("model/ignore_merges", True, "ignore_merges"),
        ("normalizer", {"type": "NFC"}, "normalizer"),
        ("pre_tokenizer", None, "pre-tokenizer"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre-tokenizer"),
        ("pre_tokenizer/add_prefix_space", True, "pre-tokenizer"),
        ("pre_tokenizer/use_regex", False, "pre-tokenizer"),
        ("added_tokens", None, "special tokens"),
        ("added_tokens", [], "special tokens"),
        ("added_tokens", 7, "special tokens"),
        ("added_tokens", [{"content": "<pad>"}], "special tokens"),
    ],
)
def test_a_file_of_another_kind_is_refused(keys: str, value: Any, found: str) -> None:
    assert found in refused(change(keys, value))


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"x"', "{}", "[" * 100_000, "\0"])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    refused(text)


def test_a_vocabulary_without_the_special_token_or_a_byte_is_refused() -> None:
    fields = json.loads(TOKENIZER.to_json())
    vocabulary = fields["model"]["vocab"]
    for token, found in (("<|endoftext|>", "no token <|endoftext|>"), ("a", "no token for some byte")):
        rest = sorted((t for t in vocabulary if t != token), key=vocabulary.__getitem__)
        fields["model"]["vocab"] = {t: i for i, t in enumerate(rest)}
        assert found in refused(json.dumps(fields))


def test_merges_as_older_versions_wrote_them_are_read() -> None:
    merges = [" ".join(pair) for pair in json.loads(TOKENIZER.to_json())["model"]["merges"]]
    older = Tokenizer.from_json(change("model/merges", merges))
    assert older.digest == TOKENIZER.digest


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    (tmp_path / "json").write_bytes(b"{")
    cases = {
        "missing": "no such file",
        ".": "no such file",
        "latin": "not UTF-8 text",
        "json": "not JSON",
        "a\0": "no",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        cases["pipe"] = "no such file"
    for name, found in cases.items():
        with pytest.raises(DataError, match=found) as caught:
            Tokenizer.from_file(f"{tmp_path}/{name}")
        assert "\n" not in str(caught.value)
