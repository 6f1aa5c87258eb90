"""Text to tokens to packed rows: corpora, a byte-level tokenizer, packing, and yardsticks of compression."""

from .._shared.files import temporary_beside, write_atomic
from .._shared.folders import default_cache_dir
from ._corpus.compression import compressed_bits_per_byte
from ._corpus.corpus import Corpus, Document
from ._corpus.reading import read_corpus, standard_library
from ._packing.example import IGNORED, Example, Reason, as_tokens
from ._packing.packing import PackedRows, Waste, pack
from ._packing.row import PackedRow, Side
from ._tokenizer.text import token_text, visible
from ._tokenizer.tokenizer import Tokenizer
from ._tokenizer.training import train_tokenizer

__all__ = [
    "IGNORED",
    "Corpus",
    "Document",
    "Example",
    "PackedRow",
    "PackedRows",
    "Reason",
    "Side",
    "Tokenizer",
    "Waste",
    "as_tokens",
    "compressed_bits_per_byte",
    "default_cache_dir",
    "pack",
    "read_corpus",
    "standard_library",
    "temporary_beside",
    "token_text",
    "train_tokenizer",
    "visible",
    "write_atomic",
]
