"""Sampling and streaming: from a prompt to text, token by token."""

from ._detokenizer import StreamingDetokenizer
from ._generate import generate
from ._sampling import Sampling, sample

__all__ = ["Sampling", "StreamingDetokenizer", "generate", "sample"]
