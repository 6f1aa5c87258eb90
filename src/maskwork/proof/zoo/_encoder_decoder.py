"""An encoder-decoder that translates as it goes: output q may depend on the source up to q, whatever both lengths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ._specimens import CONTEXT, HEADS, VOCABULARY, WIDTH


@dataclass
class Translated:
    """An output in the form that transformers gives it."""

    logits: torch.Tensor
    encoder_last_hidden_state: torch.Tensor


class Translator(nn.Module):
    """Three causal attentions: of the source, of the target, and across, where `bottom_right` is the fault."""

    def __init__(self, bottom_right: bool = False) -> None:
        super().__init__()
        self.bottom_right = bottom_right
        self.embedding, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.encoder, self.decoder, self.cross = (
            nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) for _ in range(3)
        )
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, input_ids: torch.Tensor, decoder_input_ids: torch.Tensor) -> Translated:
        """Compute logits `(B, Q, V)` for a source `(B, K)` and a target `(B, Q)`."""
        source, target = self._embed(input_ids), self._embed(decoder_input_ids)
        # Each attention is added to its input: a residual connection.
        source = source + _attend(self.encoder, source, source, 0)
        target = target + _attend(self.decoder, target, target, 0)
        # Counted from the bottom right corner, the triangle of a longer source reaches further ahead.
        ahead = source.shape[1] - target.shape[1] if self.bottom_right else 0
        target = target + _attend(self.cross, target, source, ahead)
        return Translated(self.head(target), source)

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embedding(ids) + self.positions(torch.arange(ids.shape[1]))


def _attend(attention: nn.Module, x: torch.Tensor, y: torch.Tensor, ahead: int) -> torch.Tensor:
    """Attend from `x` to `y`: query q sees keys up to `q + ahead`."""
    ignore = torch.ones(x.shape[1], y.shape[1], dtype=torch.bool).triu(1 + ahead)
    return attention(x, y, y, attn_mask=ignore, need_weights=False)[0]
