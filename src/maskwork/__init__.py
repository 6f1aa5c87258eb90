"""maskwork: a mask is a value. Write it once; compile, prove, train, stream and look at it.

`import maskwork` loads NumPy only; names that need torch load it when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors
from ._shared.lazy import lazy_exports
from .masks import (
    BoundMask,
    Diff,
    Explanation,
    Grid,
    Mask,
    Verdict,
    band,
    block_causal,
    blocks,
    causal,
    chunked,
    custom,
    dilated,
    document,
    edges,
    empty,
    from_additive,
    from_cu_seqlens,
    from_dense,
    from_key_bounds,
    from_key_padding_mask,
    from_mha,
    from_spans,
    full,
    global_tokens,
    match,
    neighborhood,
    packed,
    padding,
    parse,
    per_head,
    per_row,
    prefix,
    random_blocks,
    real,
    real_queries,
    recipes,
    rectangles,
    sinks,
    sliding_window,
    tree,
    within,
)
from .spans import Spans

if TYPE_CHECKING:
    from . import cache, data, decoding, kernels, losses, lower, models, nn, objectives, testing, training
    from .explorer import explore
    from .kernels import PositionBias, alibi, attention, plan, relative_bias
    from .losses import LossOutput, linear_masked_cross_entropy, masked_cross_entropy
    from .objectives import Batch, BatchExplanation, explain_batch
    from .proof import Cause, audit

__version__ = "0.1.0"

# name -> the package that holds it; a package is its own name.
_LAZY = {
    "attention": "kernels",
    "plan": "kernels",
    "PositionBias": "kernels",
    "alibi": "kernels",
    "relative_bias": "kernels",
    "Batch": "objectives",
    "BatchExplanation": "objectives",
    "LossOutput": "losses",
    "linear_masked_cross_entropy": "losses",
    "explain_batch": "objectives",
    "explore": "explorer",
    "masked_cross_entropy": "losses",
    "Cause": "proof",
    "audit": "proof",
    "cache": "cache",
    "data": "data",
    "decoding": "decoding",
    "kernels": "kernels",
    "losses": "losses",
    "lower": "lower",
    "models": "models",
    "nn": "nn",
    "objectives": "objectives",
    "testing": "testing",
    "training": "training",
}

__all__ = [
    "Batch",
    "BatchExplanation",
    "BoundMask",
    "Cause",
    "Diff",
    "Explanation",
    "Grid",
    "LossOutput",
    "Mask",
    "PositionBias",
    "Spans",
    "Verdict",
    "alibi",
    "attention",
    "audit",
    "band",
    "block_causal",
    "blocks",
    "cache",
    "causal",
    "chunked",
    "custom",
    "data",
    "decoding",
    "dilated",
    "document",
    "edges",
    "empty",
    "errors",
    "explain_batch",
    "explore",
    "from_additive",
    "from_cu_seqlens",
    "from_dense",
    "from_key_bounds",
    "from_key_padding_mask",
    "from_mha",
    "from_spans",
    "full",
    "global_tokens",
    "kernels",
    "linear_masked_cross_entropy",
    "losses",
    "lower",
    "masked_cross_entropy",
    "match",
    "models",
    "neighborhood",
    "nn",
    "objectives",
    "packed",
    "padding",
    "parse",
    "per_head",
    "per_row",
    "plan",
    "prefix",
    "random_blocks",
    "real",
    "real_queries",
    "recipes",
    "rectangles",
    "relative_bias",
    "sinks",
    "sliding_window",
    "testing",
    "training",
    "tree",
    "within",
]


__getattr__ = lazy_exports(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
