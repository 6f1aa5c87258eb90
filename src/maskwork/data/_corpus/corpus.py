"""A corpus: documents on two sides, training and validation, where no document crosses.

A folder's documents are split by a hash of their content, so the side of a file depends on nothing but
itself: to add, remove or rename another file does not move it.
"""

import hashlib
from dataclasses import dataclass

from ...errors import DataError

# A digest is uniform over [0, 2**256): this share of it is validation.
_VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Document:
    """One text.

    Attributes:
        name: a path inside the corpus, with `/`.
        content: the text's bytes, UTF-8.

    >>> Document("a.txt", "déjà".encode()).text
    'déjà'
    """

    name: str
    content: bytes

    @property
    def text(self) -> str:
        """The content as a string, line ends unchanged.

        Raises:
            DataError: the content is not UTF-8.
        """
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"a document is UTF-8 text, got an invalid byte at offset {error.start} of {self.name!r}; "
                "convert it to UTF-8 first"
            ) from None

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal; documents that differ in their names alone have one digest."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """Documents for training and for validation, and counts of the files that were left out.

    Attributes:
        name: how reports call the corpus.
        train: the documents to train on.
        validation: the documents to validate on.
        not_utf8: how many files were skipped because they are not text (invalid UTF-8, or a zero byte inside).
        duplicates: how many files were dropped because another file has exactly the same content.

    >>> train, validation = (Document("a", b"one"),), (Document("b", b"three"),)
    >>> corpus = Corpus("mine", train, validation, not_utf8=0, duplicates=0)
    >>> corpus.train_bytes, corpus.validation_bytes
    (3, 5)
    """

    name: str
    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    not_utf8: int
    duplicates: int

    @property
    def train_bytes(self) -> int:
        """Bytes of the training documents together."""
        return sum(len(document.content) for document in self.train)

    @property
    def validation_bytes(self) -> int:
        """Bytes of the validation documents together."""
        return sum(len(document.content) for document in self.validation)

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what training sees: the contents of each side, in order; no names."""
        digest = hashlib.sha256()
        for side in (self.train, self.validation):
            digest.update(len(side).to_bytes(8, "little"))
            for document in side:
                digest.update(bytes.fromhex(document.digest))
        return digest.hexdigest()


def split_documents(documents: list[Document]) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """Split distinct documents into (train, validation) by their digests; about 10 % of many are validation.

    Where a side would be empty, the threshold moves just far enough to put one document there. A single document is
    cut in two.

    Raises:
        DataError: the single document is shorter than two characters.
    """
    if len(documents) == 1:
        train, validation = _cut_in_two(documents[0])
        return (train,), (validation,)
    digests = sorted(document.digest for document in documents)
    # One threshold on the sorted digests, moved where a side would be empty:
    #
    #     0 ......... threshold ......................... 2**256
    #     validation          | train
    below = sum(int(digest[:16], 16) < _VALIDATION_SHARE * 2**64 for digest in digests)
    threshold = digests[min(max(below, 1), len(digests) - 1) - 1]
    sides: tuple[list[Document], list[Document]] = ([], [])
    for document in documents:
        sides[document.digest <= threshold].append(document)
    return tuple(sides[0]), tuple(sides[1])


def _cut_in_two(document: Document) -> tuple[Document, Document]:
    """Cut off the last 10 %: at the nearest line start that leaves 5 to 20 %, else between two characters."""
    content = document.content
    goal = len(content) - round(len(content) * _VALIDATION_SHARE)
    before = content.rfind(b"\n", 0, goal) + 1
    after = content.find(b"\n", max(goal - 1, 0)) + 1
    line_starts = [start for start in (before, after) if 0.05 <= 1 - start / len(content) <= 0.2]
    if line_starts:
        cut = min(line_starts, key=lambda start: abs(start - goal))
    else:
        cut = _character_start(content, min(max(goal, 1), len(content) - 1))
    if not 0 < cut < len(content):
        raise DataError(
            f"a single text is cut in two and needs two characters, got one in {document.name!r}; give a longer text"
        )
    return (
        Document(document.name, content[:cut]),
        Document(f"{document.name} (last {len(content) - cut} bytes)", content[cut:]),
    )


def _character_start(content: bytes, offset: int) -> int:
    """Return the start of the UTF-8 character at `offset`, or of the second character where that is the first."""
    start = offset
    while start > 0 and content[start] & 0xC0 == 0x80:  # 10xxxxxx continues a character
        start -= 1
    if start == 0:
        start = 1
        while start < len(content) and content[start] & 0xC0 == 0x80:
            start += 1
    return start
