"""Text to tokens to packed rows: corpora, a byte-level tokenizer, packing, and yardsticks of compression."""

from maskwork.data._compression import compressed_bits_per_byte
from maskwork.data._corpus import Corpus, Document
from maskwork.data._files import temporary_beside, write_atomic
from maskwork.data._packing import PackedRow, pack
from maskwork.data._reading import read_corpus, standard_library
from maskwork.data._tokenizer import Tokenizer
from maskwork.data._tokenizer_cache import default_cache_dir
from maskwork.data._tokenizer_training import train_tokenizer

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
