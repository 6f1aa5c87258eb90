"""Decoders that take packed documents by their ends, as flash-attention's varlen kernels do: one flat row.

tokens      a b c d e f
documents   0 0 1 1 1 2
cu_seqlens  0, 2, 5, 6
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ._specimens import Output, Specimen, Twist

#: int (D + 1,), the documents' ends with 0 before them, and a length -> int64 (L,), the document of each position.
DocumentSplit = Callable[[torch.Tensor, int], torch.Tensor]


def by_ends(ends: torch.Tensor, length: int) -> torch.Tensor:
    """Return each position's document; at a document's end the next document begins."""
    return torch.bucketize(torch.arange(length), ends[1:].contiguous(), right=True)


class Varlen(Specimen):
    """`forward(input_ids, cu_seqlens, max_seqlen)`; it counts each document's positions itself.

    Args:
        twists: layer -> the fault in its attention.
        split: which document a position belongs to.
        restart: whether positions begin anew in each document.
    """

    def __init__(
        self, *, twists: dict[int, Twist] | None = None, split: DocumentSplit = by_ends, restart: bool = True
    ) -> None:
        super().__init__(twists=twists)
        self.split, self.restart = split, restart

    def forward(  # type: ignore[override]
        self, input_ids: torch.Tensor, cu_seqlens: torch.Tensor, max_seqlen: int
    ) -> Output:
        """Compute logits `(1, L, V)` for ids `(1, L)`: varlen kernels know one row."""
        length = input_ids.shape[1]
        assert len(input_ids) == 1
        # Varlen kernels are launched for max_seqlen queries: a smaller number would leave tokens out.
        assert int(cu_seqlens.diff().max()) == max_seqlen
        documents = self.split(cu_seqlens, length)
        # Positions restart by the true ends, so that `split` plants a fault in attention alone.
        starts = cu_seqlens.long()[by_ends(cu_seqlens, length)]
        places = torch.arange(length) - (starts if self.restart else 0)
        return super().forward(input_ids, position_ids=places[None], document_ids=documents[None])


class FlashArguments(Varlen):
    """A `Varlen` with the argument names that transformers hands to flash-attention, `position_ids` among them."""

    def forward(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        cu_seq_lens_q: torch.Tensor | None = None,
        cu_seq_lens_k: torch.Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
    ) -> Output:
        """Compute logits `(B, L, V)` for ids `(B, L)`; one row where documents are given."""
        if cu_seq_lens_q is None:
            return Specimen.forward(self, input_ids, position_ids=position_ids)
        assert cu_seq_lens_k is not None
        assert torch.equal(cu_seq_lens_q, cu_seq_lens_k)
        assert max_length_q == max_length_k
        documents = self.split(cu_seq_lens_q, input_ids.shape[1])
        return Specimen.forward(self, input_ids, position_ids=position_ids, document_ids=documents[None])
