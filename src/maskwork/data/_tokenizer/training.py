"""Training the tokenizer: the same documents and size give the same tokenizer, on every run."""

import hashlib
import json
import operator
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tokenizers import models, pre_tokenizers, trainers

from ...errors import ArgumentError, DataError
from .._corpus.corpus import Document
from .cache import load_cached, save_cached
from .file import END_OF_TEXT, read_vocabulary
from .tokenizer import Tokenizer, make_backend, text_pieces

# Part of the cache's key: raise it when the pipeline or the options of the trainer change.
_FORMAT = 2
# The trainer's time grows with the square of a word's length, and DNA or a ruler of dashes is one word: longer runs of
# letters, digits, signs or spaces are cut.
_LONGEST_RUN = 256
_RUN = re.compile(r"[^\W\d_]+|\d+|(?:[^\w\s]|_)+|\s+")
_LONG_SPACE = re.compile(rf"\s{{{_LONGEST_RUN + 1}}}")
_PARALLELISM = "TOKENIZERS_PARALLELISM"


def train_tokenizer(documents: Iterable[Document], vocab_size: int, cache_dir: str | Path | None = None) -> Tokenizer:
    """Trains a byte-level BPE of at most `vocab_size` tokens: `<|endoftext|>` (id 0), 256 bytes, then merges.

    A merge needs to occur twice, so a small text yields fewer tokens. With a `cache_dir` (see
    `default_cache_dir`) the result is kept under a hash of everything that it depends on; a cache file that
    is damaged is made anew, and a folder that cannot be written only costs the time. 11 MB take some
    seconds on one core.

    Raises `ArgumentError` when `vocab_size` is not an integer of at least 257, `DataError` when there are no
    documents or one is not UTF-8.

    >>> tokenizer = train_tokenizer([Document("a.txt", b"low lower lowest " * 9)], vocab_size=260)
    >>> [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode("lowest")]
    [b'low', b'e', b's', b't']
    """
    size = _checked_size(vocab_size)
    documents = tuple(documents)
    if not documents:
        raise DataError("a tokenizer learns from at least one document; found none; give it the training documents")
    folder = None if cache_dir is None else Path(cache_dir)
    key = _cache_key(documents, size) if folder else ""
    cached = load_cached(folder, key) if folder else None
    if cached is not None:
        return cached
    tokenizer = _train(documents, size)
    if folder:
        save_cached(folder, key, tokenizer)
    return tokenizer


def _train(documents: tuple[Document, ...], vocab_size: int) -> Tokenizer:
    backend = make_backend(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    with _one_thread():
        pieces = (cut for document in documents for piece in text_pieces(document.text) for cut in _cut_runs(piece))
        backend.train_from_iterator(pieces, trainer)
    vocabulary, merges = read_vocabulary(backend.to_str(), source="the training")
    return Tokenizer(vocabulary, merges)


def _cut_runs(text: str) -> Iterator[str]:
    """The text in order, cut only inside runs that are too long to train on."""
    # Looked for first, because ordinary text has none and the look is ten times faster than the cut.
    if max(map(len, text.split()), default=0) <= _LONGEST_RUN and not _LONG_SPACE.search(text):
        yield text
        return
    start = 0
    for run in _RUN.finditer(text):
        for end in range(run.start() + _LONGEST_RUN, run.end(), _LONGEST_RUN):
            yield text[start:end]
            start = end
    yield text[start:]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps the backend on one thread, unless the user has set its variable.

    Once threads were used, a later fork of the process (a data loader's workers) inherits a pool without its
    threads, of which tokenizers 0.20 also warns each time. The variable is the only switch there is, and one
    thread is fast enough.
    """
    if _PARALLELISM in os.environ:
        yield
        return
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        os.environ.pop(_PARALLELISM, None)


def _cache_key(documents: tuple[Document, ...], vocab_size: int) -> str:
    """A hash of all that the result depends on: bytes, size, the library's version, our format."""
    parts = [_FORMAT, vocab_size, version("tokenizers"), [document.digest for document in documents]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _checked_size(vocab_size: int) -> int:
    try:
        size = operator.index(vocab_size)
    except TypeError:
        size = 0
    if size < 257:
        raise ArgumentError(
            f"vocab_size must be an integer of at least 257, 256 bytes and {END_OF_TEXT}; "
            f"found {vocab_size!r}; give a larger size, such as 2048"
        )
    return size
