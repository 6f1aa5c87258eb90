"""Training is repeatable, cached by content, and leaves neither threads nor warnings behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from maskwork.data import Document, Tokenizer, train_tokenizer
from maskwork.data._tokenizer import training as training
from maskwork.errors import ArgumentError, DataError

DOCUMENTS = [Document(str(i), b"for key, value in items.items(): print(key, value)\n" * (i + 2)) for i in range(3)]


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)


def test_the_vocabulary_starts_with_the_special_token_and_the_bytes() -> None:
    tokenizer = train_tokenizer(DOCUMENTS, 257)
    assert tokenizer.vocab_size == 257
    assert tokenizer.end_of_text == 0
    assert sorted(tokenizer.token_bytes(i) for i in range(1, 257)) == [bytes([byte]) for byte in range(256)]
    assert tokenizer.encode("ab") == [tokenizer.encode("a")[0], tokenizer.encode("b")[0]]


def test_the_size_is_reached_where_the_text_allows_and_less_where_not() -> None:
    assert train_tokenizer(DOCUMENTS, 270).vocab_size == 270
    small = train_tokenizer(DOCUMENTS, 4096)
    assert 270 < small.vocab_size < 4096
    assert len(small.encode("items.items()")) < len(train_tokenizer(DOCUMENTS, 257).encode("items.items()"))


def test_training_in_another_process_gives_the_same_tokenizer() -> None:
    program = (
        "from maskwork.data import Document, train_tokenizer\n"
        "text = ' '.join(f'{a}{b}' for a in 'abcdefgh' for b in 'abcdefgh')\n"  # all pairs tie
        "digest = train_tokenizer([Document('a', (text * 4).encode())], 330).digest\n"
    )
    here: dict[str, str] = {}
    exec(program, here)
    # each process has its own seed of Python's hashes
    digests = {run_python(program + "print(digest)").stdout.strip() for _ in range(2)}
    assert digests == {here["digest"]}
    assert len(here["digest"]) == 64


def test_forking_after_training_and_encoding_prints_no_warning() -> None:
    program = (
        "import os\n"
        "from maskwork.data import *\n"
        "tokenizer = train_tokenizer([Document(str(i), b'low lower lowest ' * 50) for i in range(50)], 300)\n"
        "tokenizer.encode('lowest')\n"
        "child = os.fork()\n"
        "tokenizer.encode('lowest')\n"
        "if child == 0: os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print('TOKENIZERS_PARALLELISM' in os.environ)\n"
    )
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    done = run_python(program)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_users_own_setting_of_the_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    digest = train_tokenizer(DOCUMENTS, 300).digest
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    assert train_tokenizer(DOCUMENTS, 300).digest == digest
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_importing_the_package_leaves_torch_alone() -> None:
    done = run_python("import sys, maskwork.data; print('torch' in sys.modules)")
    assert done.stdout == "False\n"


@pytest.mark.parametrize("vocab_size", [256, 0, -1, True, 300.0, "300", None])
def test_a_size_without_room_for_all_bytes_is_refused(vocab_size: object) -> None:
    with pytest.raises(ArgumentError, match="vocab_size must be an integer"):
        train_tokenizer(DOCUMENTS, vocab_size)  # type: ignore[arg-type]


def test_a_numpy_integer_is_a_size() -> None:
    assert train_tokenizer(DOCUMENTS, np.int64(258)).vocab_size == 258  # type: ignore[arg-type]


def test_documents_are_needed_and_must_be_text() -> None:
    with pytest.raises(DataError, match="at least one document"):
        train_tokenizer([], 300)
    with pytest.raises(DataError, match="invalid byte at offset 0 of 'bad'"):
        train_tokenizer([Document("bad", b"\xff")], 300)
    assert train_tokenizer([Document("empty", b"")], 300).vocab_size == 257


def never_train(*_: object) -> Tokenizer:
    raise AssertionError("trained although the cache has it")


def test_the_cache_saves_the_second_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "made" / "cache"
    first = train_tokenizer(iter(DOCUMENTS), 300, cache_dir=folder)
    assert len(os.listdir(folder)) == 1
    monkeypatch.setattr(training, "_train", never_train)
    second = train_tokenizer(DOCUMENTS, 300, cache_dir=str(folder))
    assert second.to_json() == first.to_json()
    renamed = [Document("other", document.content) for document in DOCUMENTS]
    assert train_tokenizer(renamed, 300, cache_dir=folder).digest == first.digest


@pytest.mark.parametrize("change", ["documents", "size", "version", "format"])
def test_whatever_the_result_depends_on_is_in_the_key(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tokenizer(DOCUMENTS, 300, cache_dir=tmp_path)
    if change == "version":
        monkeypatch.setattr(training, "version", lambda name: "99")
    if change == "format":
        monkeypatch.setattr(training, "_FORMAT", 99)
    documents = DOCUMENTS[:2] if change == "documents" else DOCUMENTS
    train_tokenizer(documents, 301 if change == "size" else 300, cache_dir=tmp_path)
    assert len(os.listdir(tmp_path)) == 2


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = train_tokenizer(DOCUMENTS, 300, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = whole.replace(b'"a"', b'"\xc3\xa9"', 1)
    for damaged in (b"", whole[:-50], whole[:20], b"\xff" * 99, flipped, b"{}"):
        path.write_bytes(damaged)
        assert train_tokenizer(DOCUMENTS, 300, cache_dir=tmp_path).digest == first.digest
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    tokenizer = train_tokenizer(DOCUMENTS, 300, cache_dir=tmp_path / "file")
    assert tokenizer.digest == train_tokenizer(DOCUMENTS, 300).digest
    assert os.listdir(tmp_path) == ["file"]


def test_without_a_cache_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKWORK_CACHE", str(tmp_path))
    train_tokenizer(DOCUMENTS, 300)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("run", ["ACGT" * 300, "-_" * 600, "7" * 1200, " " * 1200, "\n \t" * 400])
def test_a_long_run_is_cut_into_pieces_that_are_the_text(run: str) -> None:
    text = f"before {run} after"
    pieces = list(training._cut_runs(text))
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 256 + len("before ")


def test_training_on_one_long_word_is_fast() -> None:
    dna = "".join(np.random.default_rng(0).choice(list("ACGT"), 100_000))
    began = time.perf_counter()
    assert train_tokenizer([Document("dna", dna.encode())], 400).vocab_size == 400
    assert time.perf_counter() - began < 4  # uncut: as many seconds as it has tens of thousands of letters, squared


def test_ordinary_text_is_not_cut() -> None:
    text = "ordinary words, 1234 numbers\n    and signs ======\n" * 50 + "x1" * 400
    assert list(training._cut_runs(text)) == [text]
