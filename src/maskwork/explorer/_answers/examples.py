"""Models for who has none at hand: a small one that keeps the mask, and copies of it with a planted fault.

They are untrained and read bytes. What they attend to is worth nothing; where they attend is what is looked at.
"""

from __future__ import annotations

import torch

from ...data import visible
from ...errors import ArgumentError
from ...hf import OpenedModel
from ...masks import Mask
from ...models import ModelConfig, Transformer
from ...proof import Cause, plant

#: What stands before an example's name where a folder could stand.
PREFIX = "example:"
#: Each name with its fault, None for the model that keeps its mask.
EXAMPLES = {"honest": None, "no-mask": Cause.NO_MASK, "shifted-labels": Cause.OFF_BY_ONE}

_CONTEXT = 64


def example(path: str, mask: Mask) -> OpenedModel:
    """Return the example that `path`, such as `example:no-mask`, names; the model is built to keep `mask`.

    >>> import maskwork as mw
    >>> example("example:honest", mw.sliding_window(4)).masks
    (sliding_window(4),)

    Raises:
        ArgumentError: there is no such example.
    """
    name = path.removeprefix(PREFIX)
    if name not in EXAMPLES:
        raise ArgumentError(f"examples are {', '.join(EXAMPLES)}, got {name[:40]!r}")
    heads = mask.heads if mask.heads > 1 else 4
    model = Transformer(
        ModelConfig(
            vocab_size=256, layers=2, width=8 * heads, heads=heads, kv_heads=1, hidden=32, context=_CONTEXT,
            mask=mask.to_text(arrays="full"),
        )
    )  # fmt: skip
    model.init_weights(torch.Generator().manual_seed(0))
    fault = EXAMPLES[name]
    planted = model if fault is None else plant(fault, model)
    return OpenedModel(
        planted.eval(),
        (mask,),
        256,
        _CONTEXT,
        lambda text: list(text.encode()),
        lambda byte: visible(bytes([byte])),
    )
