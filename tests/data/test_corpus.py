"""The split: no document crosses, none moves when another comes, a single text is cut between characters."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwork.data import Corpus, Document
from maskwork.data._corpus.corpus import split_documents
from maskwork.errors import DataError


def documents(count: int) -> list[Document]:
    return [Document(f"{i}.txt", f"text {i}".encode()) for i in range(count)]


def below_threshold(document: Document) -> bool:
    return int.from_bytes(hashlib.sha256(document.content).digest(), "big") < 2**256 / 10


def test_about_a_tenth_is_validation_by_the_hash_alone() -> None:
    all_documents = documents(2000)
    train, validation = split_documents(all_documents)
    assert 140 < len(validation) < 260
    assert sorted(train + validation, key=lambda d: int(d.name[:-4])) == all_documents
    assert all(map(below_threshold, validation))
    assert not any(map(below_threshold, train))


@given(st.sets(st.integers(0, 500), min_size=40, max_size=80), st.integers(501, 600))
def test_adding_a_document_moves_no_other(numbers: set[int], extra: int) -> None:
    few = [Document(str(i), b"text %d" % i) for i in sorted(numbers)]
    if all(map(below_threshold, few)) or not any(map(below_threshold, few)):
        return  # the documented exception: a side that would be empty
    before = split_documents(few)
    after = split_documents([*few, Document("new", b"text %d" % extra)])
    assert set(before[0]) <= set(after[0])
    assert set(before[1]) <= set(after[1])


@given(st.sets(st.binary(min_size=1, max_size=4), min_size=2, max_size=6))
def test_no_side_is_empty_and_order_is_kept(contents: set[bytes]) -> None:
    given_documents = [Document(str(i), content) for i, content in enumerate(contents)]
    train, validation = split_documents(given_documents)
    assert train
    assert validation
    assert [d for d in given_documents if d in train] == list(train)
    assert [d for d in given_documents if d in validation] == list(validation)
    assert max(d.digest for d in validation) < min(d.digest for d in train)


def test_with_no_document_below_the_threshold_the_lowest_digest_is_validation() -> None:
    few = [d for d in documents(50) if not below_threshold(d)][:5]
    _, validation = split_documents(few)
    assert validation == (min(few, key=lambda d: d.digest),)


def test_with_all_documents_below_the_threshold_the_highest_digest_is_training() -> None:
    few = [d for d in documents(100) if below_threshold(d)][:5]
    train, _ = split_documents(few)
    assert train == (max(few, key=lambda d: d.digest),)


def cut(text: str) -> tuple[str, str]:
    (train,), (validation,) = split_documents([Document("x.txt", text.encode())])
    return train.text, validation.text


def test_a_single_text_is_cut_at_the_line_start_nearest_to_nine_tenths() -> None:
    lines = [f"line {i:02}\n" for i in range(20)]
    assert cut("".join(lines)) == ("".join(lines[:18]), "".join(lines[18:]))
    # 100 characters; the line start at 86 is nearer to 90 than the one at 95
    assert cut("a" * 85 + "\n" + "b" * 8 + "\n" + "c" * 5)[1] == "b" * 8 + "\n" + "c" * 5
    assert cut("a" * 83 + "\n" + "b" * 8 + "\n" + "c" * 7)[1] == "c" * 7


def test_without_a_near_line_start_it_is_cut_between_characters() -> None:
    assert cut("a" * 100) == ("a" * 90, "a" * 10)
    assert cut("a\n" + "b" * 98) == ("a\n" + "b" * 88, "b" * 10)
    assert cut("a" * 99 + "\n") == ("a" * 90, "a" * 9 + "\n")
    assert cut("ab") == ("a", "b")
    assert cut("é𝄞") == ("é", "𝄞")


@given(st.text(min_size=2))
def test_the_cut_loses_nothing_and_both_sides_are_text(text: str) -> None:
    train, validation = cut(text)
    assert train
    assert validation
    assert train + validation == text


@pytest.mark.parametrize("text", ["a", "é", "𝄞"])
def test_one_character_cannot_be_cut(text: str) -> None:
    with pytest.raises(DataError, match=r"needs two characters, got one in 'x\.txt'; give a longer text"):
        cut(text)


def test_the_names_of_the_two_sides_differ() -> None:
    (train,), (validation,) = split_documents([Document("x.txt", b"a" * 100)])
    assert (train.name, validation.name) == ("x.txt", "x.txt (last 10 bytes)")


def test_document_text_and_digest() -> None:
    document = Document("é.txt", "déjà\r\n".encode())
    assert document.text == "déjà\r\n"
    assert document.digest == hashlib.sha256(document.content).hexdigest()
    with pytest.raises(DataError, match="invalid byte at offset 1 of 'bad'"):
        _ = Document("bad", b"a\xff").text


def test_corpus_digest_is_of_contents_sides_and_order_not_of_names() -> None:
    a, b, c = (Document(name, name.encode()) for name in "abc")

    def digest(train: tuple[Document, ...], validation: tuple[Document, ...], name: str = "x") -> str:
        return Corpus(name, train, validation, not_utf8=0, duplicates=0).digest

    assert digest((a, b), (c,)) == digest((a, Document("moved", b"b")), (c,), name="y")
    others = [digest((b, a), (c,)), digest((a,), (b, c)), digest((a, c), (b,)), digest((a, b, c), ())]
    assert len({digest((a, b), (c,)), *others}) == 5
