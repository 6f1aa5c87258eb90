"""The documents of a batch as PyTorch's `PackedSequence`, which its RNNs read, and back."""

#   batch              a b c | d e           sorted by length     abc, de
#   packed data        a d b e c             step 0 of every document, then step 1, ...
#   batch_sizes        2 2 1                 documents that reach each step

from __future__ import annotations

import torch
from torch.nn.utils.rnn import PackedSequence

from ...errors import ArgumentError


def pack_documents(values: torch.Tensor, document_ids: torch.Tensor) -> PackedSequence:
    """Pack `values` (B, L, …) by document, the longest document first."""
    if values.shape[:2] != document_ids.shape:
        raise ArgumentError(
            f"values to pack are (B, L, …) like the batch's {tuple(document_ids.shape)}, "
            f"got {tuple(values.shape)}; put batch and length first"
        )
    order, batch_sizes, by_length = _plan(document_ids)
    inverse = torch.empty_like(by_length)  # the inverse of the permutation `by_length`
    inverse[by_length] = torch.arange(len(by_length), device=inverse.device)
    return PackedSequence(values.flatten(0, 1)[order], batch_sizes, by_length, inverse)


def unpack_documents(packed: PackedSequence, document_ids: torch.Tensor) -> torch.Tensor:
    """Put the packed values back at their positions (B, L, …), 0 at padding."""
    order, batch_sizes, _ = _plan(document_ids)
    if not torch.equal(packed.batch_sizes, batch_sizes):
        raise ArgumentError(
            f"a packed sequence goes back into the batch it came from, whose documents have batch sizes "
            f"{batch_sizes.tolist()}, got {packed.batch_sizes.tolist()}; unpack with the batch that packed it"
        )
    flat = packed.data.new_zeros(document_ids.numel(), *packed.data.shape[1:])
    return flat.index_copy(0, order, packed.data).unflatten(0, document_ids.shape)


def _plan(document_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the flat index of each packed value, the number of documents at each step, and the documents' order.

    Documents are stretches of one id. A packed sequence holds step 0 of all documents, the longest first, then step 1
    of those that have it, and so on.
    """
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    real = (document_ids >= 0).flatten()
    starts = (begins.flatten() & real).nonzero().squeeze(1)
    if not len(starts):
        raise ArgumentError("a packed sequence holds at least one document, got padding alone; leave the batch out")
    # the document of every real token, and its offset from the document's start
    positions = real.nonzero().squeeze(1)
    document = torch.searchsorted(starts, positions, right=True) - 1
    step = positions - starts[document]
    by_length = torch.bincount(document).argsort(descending=True, stable=True)
    rank = torch.empty_like(by_length)
    rank[by_length] = torch.arange(len(by_length), device=rank.device)
    # sorted by (step, rank of the document): that is the packed order
    order = positions[(step * len(starts) + rank[document]).argsort()]
    return order, torch.bincount(step).cpu(), by_length
