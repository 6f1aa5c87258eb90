"""The atoms. They register themselves as they are imported, in the order in which messages and guides name them."""

# ruff: noqa: I001
from . import positions, padding, real, documents, ids, blocks, per, sparse, tree, neighborhood, custom, interop

__all__ = [
    "blocks",
    "custom",
    "documents",
    "ids",
    "interop",
    "neighborhood",
    "padding",
    "per",
    "positions",
    "real",
    "sparse",
    "tree",
]
