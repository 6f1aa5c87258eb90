"""Training the tokenizer: the same documents and size give the same tokenizer, on every run."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tokenizers import models, pre_tokenizers, trainers

from ..._shared.numbers import between
from ...errors import DataError
from .._corpus.corpus import Document
from .cache import load_cached, save_cached
from .file import END_OF_TEXT, read_vocabulary
from .tokenizer import Tokenizer, make_backend, text_pieces

# Part of the cache's key: raise the number when the pipeline or the options of the trainer change.
_FORMAT = 2
# The trainer's time grows with the square of a word's length, and DNA or a ruler of dashes is one word: longer runs of
# letters, digits, signs or spaces are cut.
_LONGEST_RUN = 256
_RUN = re.compile(r"[^\W\d_]+|\d+|(?:[^\w\s]|_)+|\s+")
_LONG_SPACE = re.compile(rf"\s{{{_LONGEST_RUN + 1}}}")
_PARALLELISM = "TOKENIZERS_PARALLELISM"


def train_tokenizer(documents: Iterable[Document], vocab_size: int, cache_dir: str | Path | None = None) -> Tokenizer:
    """Train a byte-level BPE of at most `vocab_size` tokens: `<|endoftext|>` (id 0), 256 bytes, then merges.

    A merge needs to occur twice, so a small text yields fewer tokens. 11 MB take some seconds on one core.

    Args:
        documents: the training documents.
        vocab_size: the most tokens, at least 257.
        cache_dir: a folder (see `default_cache_dir`) in which the result is stored under a hash of everything that it
            depends on. A damaged cache file is replaced; a folder that cannot be written costs only the time.

    Raises:
        ArgumentError: `vocab_size` is not an integer of at least 257.
        DataError: there are no documents, or one is not UTF-8.

    >>> tokenizer = train_tokenizer([Document("a.txt", b"low lower lowest " * 9)], vocab_size=260)
    >>> [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode("lowest")]
    [b'low', b'e', b's', b't']
    """
    # The smallest vocabulary holds the 256 bytes and the special token; the backend counts in 64 bits.
    size = between(vocab_size, 257, 2**63 - 1, "vocab_size")
    documents = tuple(documents)
    if not documents:
        raise DataError("a tokenizer learns from at least one document, got none; give the training documents")
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
    """Train by the backend, whose result is read as a file would be."""
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
    """Yield the text in order, cut only inside runs that are too long to train on."""
    # Checked first, because ordinary text has no long run and the check is ten times faster than the cut.
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
    """Keep the backend on one thread, unless the user has set its environment variable.

    Once threads were used, a later fork of the process (a data loader's workers) inherits a pool without its threads,
    of which tokenizers 0.20 also warns each time. The environment variable is the only switch that there is, and one
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
    """Return a hash of all that the result depends on: bytes, size, the library's version, our format."""
    parts = [_FORMAT, vocab_size, version("tokenizers"), [document.digest for document in documents]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
