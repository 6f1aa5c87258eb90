"""How well a model predicts rows it doesn't train on: total nats, and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..errors import ArgumentError
from ..objectives import Objective, masked_cross_entropy
from ._module import device_of, evaluation_mode

if TYPE_CHECKING:
    from ..data import PackedRow


@dataclass(frozen=True)
class Evaluation:
    """What a model paid for the scored tokens.

    Attributes:
        nats: the weighted sum of the scored tokens' losses.
        targets: how many tokens were scored.
    """

    nats: float
    targets: int

    @property
    def nats_per_target(self) -> float:
        """The mean loss of a scored token (with weights of 1)."""
        return self.nats / self.targets


def evaluate(model: nn.Module, rows: Sequence[PackedRow], objective: Objective, batch_rows: int) -> Evaluation:
    """Total loss of `model` over all rows, in evaluation mode and without gradients; the mode is restored.

    Each batch is summed in float32 and the batches in float64. Anything random in the objective is seeded, so
    two calls agree.

    Raises:
        ArgumentError: there is nothing to score, or `batch_rows` is below 1.

    >>> from maskwork.data import pack
    >>> from maskwork.models import ModelConfig, Transformer
    >>> from maskwork.objectives import CausalLM
    >>> shape = ModelConfig(vocab_size=4, layers=1, width=8, heads=2, kv_heads=1, hidden=16, context=8)
    >>> result = evaluate(Transformer(shape), list(pack([[1, 2, 3]], max_len=8)), CausalLM(), batch_rows=4)
    >>> result.targets, result.nats_per_target > 0
    (2, True)
    """
    if batch_rows < 1:
        raise ArgumentError(f"batch_rows must be at least 1; found {batch_rows}; raise it")
    generator = torch.Generator().manual_seed(0)
    device = device_of(model)
    nats, targets = 0.0, 0
    with evaluation_mode(model), torch.no_grad():
        for begin in range(0, len(rows), batch_rows):
            batch = objective(rows[begin : begin + batch_rows], generator).to(device)
            logits = model(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)
            out = masked_cross_entropy(logits, batch.targets, batch.weights, reduction="sum")
            nats += out.loss_sum.item()
            targets += out.n_targets
    if targets == 0:
        raise ArgumentError(f"evaluation needs a scored token; found none in {len(rows)} rows; give longer documents")
    return Evaluation(nats, targets)


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """The model as a compressor: `nats` for text of `n_bytes` UTF-8 bytes, in bits per byte.

    It doesn't depend on the tokenizer, so it compares with other models, and with zlib.

    Raises:
        ArgumentError: `n_bytes` is below 1.

    >>> import math
    >>> bits_per_byte(nats=100 * math.log(2), n_bytes=50)
    2.0
    """
    if n_bytes < 1:
        raise ArgumentError(f"bits per byte needs at least one byte; found {n_bytes}; give validation text")
    return nats / math.log(2) / n_bytes
