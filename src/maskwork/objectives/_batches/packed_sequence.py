"""Documents of a batch as PyTorch's `PackedSequence`, which its RNNs read, and back."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import PackedSequence

from ...errors import ArgumentError


def pack_documents(values: torch.Tensor, document_ids: torch.Tensor) -> PackedSequence:
    """See `Batch.pack_sequence`."""
    if values.shape[:2] != document_ids.shape:
        raise ArgumentError(
            f"values to pack are (B, L, …) like the batch's {tuple(document_ids.shape)}; "
            f"found {tuple(values.shape)}; put batch and length first"
        )
    order, batch_sizes, by_length = _plan(document_ids)
    back = torch.empty_like(by_length)
    back[by_length] = torch.arange(len(by_length), device=back.device)
    return PackedSequence(values.flatten(0, 1)[order], batch_sizes, by_length, back)


def unpack_documents(packed: PackedSequence, document_ids: torch.Tensor) -> torch.Tensor:
    """See `Batch.unpack_sequence`."""
    order, batch_sizes, _ = _plan(document_ids)
    if not torch.equal(packed.batch_sizes, batch_sizes):
        raise ArgumentError(
            f"a packed sequence goes back into the batch it came from, whose documents have batch sizes "
            f"{batch_sizes.tolist()}; found {packed.batch_sizes.tolist()}; unpack with the batch that packed it"
        )
    flat = packed.data.new_zeros(document_ids.numel(), *packed.data.shape[1:])
    return flat.index_copy(0, order, packed.data).unflatten(0, document_ids.shape)


def _plan(document_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where each step of the packed data is in the flat batch, how many documents reach each step, and their order.

    Documents are stretches of one id. A packed sequence holds step 0 of all of them, the longest first, then step 1 of
    those that have one, and so on.
    """
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    real = (document_ids >= 0).flatten()
    starts = (begins.flatten() & real).nonzero().squeeze(1)
    if not len(starts):
        raise ArgumentError("a packed sequence holds at least one document; found padding alone; leave the batch out")
    positions = real.nonzero().squeeze(1)
    document = torch.searchsorted(starts, positions, right=True) - 1
    step = positions - starts[document]
    by_length = torch.bincount(document).argsort(descending=True, stable=True)
    rank = torch.empty_like(by_length)
    rank[by_length] = torch.arange(len(by_length), device=rank.device)
    order = positions[(step * len(starts) + rank[document]).argsort()]
    return order, torch.bincount(step).cpu(), by_length
