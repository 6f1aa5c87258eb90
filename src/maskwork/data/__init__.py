"""Text to tokens to packed rows: corpora, a byte-level tokenizer, packing, and yardsticks of compression."""

from ..folders import default_cache_dir
from ._compression import compressed_bits_per_byte
from ._corpus import Corpus, Document
from ._files import temporary_beside, write_atomic
from ._packing import PackedRow, pack
from ._reading import read_corpus, standard_library
from ._tokenizer import Tokenizer
from ._tokenizer_training import train_tokenizer

__all__ = [
    "Corpus",
    "Document",
    "PackedRow",
    "Tokenizer",
    "compressed_bits_per_byte",
    "default_cache_dir",
    "pack",
    "read_corpus",
    "standard_library",
    "temporary_beside",
    "train_tokenizer",
    "write_atomic",
]
