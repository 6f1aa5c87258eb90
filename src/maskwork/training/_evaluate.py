"""How well a model predicts rows that it was not trained on: total nats, and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from .._shared.numbers import at_least
from ..errors import ArgumentError
from ..objectives import Objective, masked_cross_entropy

if TYPE_CHECKING:
    from ..data import PackedRow


@dataclass(frozen=True)
class Evaluation:
    """The losses of the scored tokens, summed.

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
    """Compute the total loss of `model` over all rows, in evaluation mode and without gradients.

    Each batch is summed in float32 and the batches in float64. All that is random in the objective is seeded, so two
    calls agree. Afterwards the model is in the mode that it had.

    Args:
        model: called as `model(input_ids, mask=..., position_ids=...)`, returns logits (B, L, V).
        rows: packed rows of one length.
        objective: makes a batch of some rows.
        batch_rows: packed rows in one forward pass, at least 1.

    Raises:
        ArgumentError: there is no token to score, or `batch_rows` is not an integer of at least 1.

    >>> from maskwork.data import pack
    >>> from maskwork.models import ModelConfig, Transformer
    >>> from maskwork.objectives import CausalLM
    >>> shape = ModelConfig(vocab_size=4, layers=1, width=8, heads=2, kv_heads=1, hidden=16, context=8)
    >>> result = evaluate(Transformer(shape), list(pack([[1, 2, 3]], max_len=8)), CausalLM(), batch_rows=4)
    >>> result.targets, result.nats_per_target > 0
    (2, True)
    """
    batch_rows = at_least(batch_rows, 1, "batch_rows")
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
        raise ArgumentError(f"evaluation needs a scored token, got none in {len(rows)} rows; give longer documents")
    return Evaluation(nats, targets)


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Return the size, in bits per byte, of a text that the model compresses: `nats` for `n_bytes` UTF-8 bytes.

    The number doesn't depend on the tokenizer, so it compares with other models, and with zlib.

    Raises:
        ArgumentError: `n_bytes` is not an integer of at least 1.

    >>> import math
    >>> bits_per_byte(nats=100 * math.log(2), n_bytes=50)
    2.0
    """
    return nats / math.log(2) / at_least(n_bytes, 1, "n_bytes")


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter; the CPU when the model has none."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch to `model.eval()` in the block; afterwards every submodule has the mode that it had, a frozen one too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        # one by one: `model.train()` would also wake the submodules that the user holds in evaluation mode
        for module, mode in modes:
            module.training = mode
