"""Masks of other libraries beside ours: one file per library, whose rows are compared and shown in the guide."""

from importlib import import_module

from .table import Counts, Peer, Row, compare, lacking

__all__ = ["FILES", "Counts", "Peer", "Row", "compare", "lacking", "peers"]

#: The files of this folder that describe a library, in the order of the guide and of the table.
FILES = (
    "pytorch", "flex_attention", "attention_gym", "hugging_face", "hugging_face_models", "flash_attention", "xformers",
    "splash", "natten", "columns", "speculative", "keras",
)  # fmt: skip


def peers() -> list[Peer]:
    """Return the libraries with their rows. This loads torch, and transformers and attn_gym if they are installed."""
    return [import_module(f"{__name__}.{name}").PEER for name in FILES]
