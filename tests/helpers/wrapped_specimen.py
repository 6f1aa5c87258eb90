"""A specimen of the zoo whose forward pass a function of the test replaces."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from maskwork.proof.zoo import Specimen, seeded


class WrappedSpecimen(nn.Module):
    """A specimen whose forward pass is `twist(self, ids, run)`; `run` is the specimen's unchanged forward pass."""

    def __init__(self, twist: Callable[..., Any]) -> None:
        super().__init__()
        self.inner, self.twist, self.calls = seeded(Specimen, 0), twist, 0

    def forward(self, ids: torch.Tensor) -> Any:
        self.calls += 1
        return self.twist(self, ids, lambda x: self.inner(x).logits)
