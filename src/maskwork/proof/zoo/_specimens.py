"""A plain decoder that can be built with a fault in any layer: most models of the zoo are made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...lower import to_dense
from ...masks import Mask, causal

WIDTH, HEADS, LAYERS, VOCABULARY, CONTEXT = 32, 4, 3, 61, 96


@dataclass(frozen=True)
class AttentionInputs:
    """The parts of an attention layer's mask, one by one, so that a fault can forget any of them.

    Attributes:
        rule: bool `(1, H or 1, Q, K)`, the mask's own cells.
        real: bool `(B, 1, 1, K)`, which keys are no padding; None without padding.
        same_document: bool `(B, 1, Q, K)`; None without documents.
        start: position of the first query.
    """

    rule: torch.Tensor
    real: torch.Tensor | None
    same_document: torch.Tensor | None
    start: int

    def allowed(self) -> torch.Tensor:
        """Return the cells that all parts allow, bool."""
        out = self.rule
        out = out if self.real is None else out & self.real
        return out if self.same_document is None else out & self.same_document


#: A layer's mask from its inputs, with a fault: bool (True = may attend), or floats that are added to the scores.
Twist = Callable[[AttentionInputs], torch.Tensor]


class SpecimenAttention(nn.Module):
    """Multi-head attention with an explicit mask; `twist` is the fault, if any."""

    def __init__(self, twist: Twist | None) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.twist = twist

    def forward(self, x: torch.Tensor, inputs: AttentionInputs, past: list[torch.Tensor] | None) -> torch.Tensor:
        """Attend: `(B, Q, W)` -> `(B, Q, W)`; `past` holds keys and values and grows."""
        batch, length, _ = x.shape
        # (B, Q, 3W) -> three of (B, H, Q, D)
        q, k, v = self.qkv(x).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        if past is not None:
            if past:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            past[:] = [k, v]
        allowed = inputs.allowed() if self.twist is None else self.twist(inputs)
        # A bool mask becomes 0 and the dtype's minimum; floats are added as they are, faults included.
        bias = allowed
        if allowed.dtype == torch.bool:
            bias = torch.zeros(allowed.shape, dtype=x.dtype).masked_fill(~allowed, torch.finfo(x.dtype).min)
        scores = q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias.to(x.dtype)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, WIDTH))


class SpecimenBlock(nn.Module):
    """Attention, feed-forward, and an extra module that a fault may add."""

    def __init__(self, twist: Twist | None, extra: nn.Module | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = SpecimenAttention(twist)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))
        self.extra = extra

    def forward(self, x: torch.Tensor, inputs: AttentionInputs, past: list[torch.Tensor] | None) -> torch.Tensor:
        x = x + self.attention(self.norm1(x), inputs, past)
        x = x + self.feed_forward(self.norm2(x))
        return x if self.extra is None else x + self.extra(x)


@dataclass
class Output:
    """An output in the form that transformers gives it."""

    logits: torch.Tensor
    past_key_values: list[list[torch.Tensor]] | None = None


class Specimen(nn.Module):
    """A decoder with learned positions, padding, documents and a cache, called as transformers calls its models.

    Args:
        mask: the mask of every layer.
        twists: layer -> the fault in its attention.
        extras: layer -> a module beside its feed-forward.
        places: the fault in the positions: from `position_ids` (or None) and the default positions, the ones to use.
        dropout: on the embeddings, in training mode.
    """

    def __init__(
        self,
        mask: Mask | None = None,
        *,
        twists: dict[int, Twist] | None = None,
        extras: dict[int, nn.Module] | None = None,
        places: Callable[[torch.Tensor | None, torch.Tensor], torch.Tensor] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mask = causal() if mask is None else mask
        self.places = places
        self.embedding, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        twists, extras = twists or {}, extras or {}
        self.blocks = nn.ModuleList(SpecimenBlock(twists.get(i), extras.get(i)) for i in range(LAYERS))
        self.dropout, self.norm, self.head = nn.Dropout(dropout), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
        past_key_values: list[list[torch.Tensor]] | None = None,
        use_cache: bool = False,
    ) -> Output:
        """Compute logits `(B, L, V)` for ids `(B, L)`; with a cache these are new tokens."""
        length = input_ids.shape[1]
        # Each layer's cache is a list that the layer fills; without a cache it is None.
        caches = past_key_values or ([[] for _ in self.blocks] if use_cache else [None] * len(self.blocks))
        start = caches[0][0].shape[2] if caches[0] else 0
        default = torch.arange(start, start + length).expand(input_ids.shape[0], -1)
        places = default if position_ids is None else position_ids
        if self.places is not None:
            places = self.places(position_ids, default)
        inputs = AttentionInputs(
            to_dense(self.mask.bind(length, start + length, q_start=start)),
            None if attention_mask is None else attention_mask.bool()[:, None, None, :],
            None if document_ids is None else document_ids[:, None, :, None] == document_ids[:, None, None, :],
            start,
        )
        # Learned positions: a position that is wrong shows in every output.
        x = self.dropout(self.embedding(input_ids) + self.positions(places))
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, inputs, cache)
        return Output(self.head(self.norm(x)), caches if use_cache else None)  # type: ignore[arg-type]


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a model with weights of this seed; torch's own random state stays."""
    # The weights are drawn from torch's own generator, which is restored on leaving.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def in_head(head: int, inside: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
    """Combine cells `(B, H, Q, K)`: `inside` in one head and `outside` in the others."""
    is_head = (torch.arange(HEADS) == head)[None, :, None, None]
    return torch.where(is_head, inside, outside)


def from_position(position: int, inputs: AttentionInputs, inside: torch.Tensor) -> torch.Tensor:
    """Combine cells: `inside` for queries from `position` on, the allowed cells for the others."""
    late = (torch.arange(inputs.rule.shape[-2]) + inputs.start >= position)[:, None]
    return torch.where(late, inside, inputs.allowed())


def tokens(length: int, seed: int) -> torch.Tensor:
    """Draw int64 `(L,)`, tokens for the zoo's models."""
    return torch.randint(1, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))


class Functional(nn.Module):
    """A module that is a function of `(B, L, W)`."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], parts: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Any) -> Any:
        return self.function(x)
