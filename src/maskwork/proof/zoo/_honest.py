"""The clean zoo: honest models of every kind, in which the audit must find no leak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...masks import Mask, causal, chunked, document, full, prefix, sinks, sliding_window
from ...models import ModelConfig, Transformer
from ._encoder_decoder import Translator
from ._routing import Router
from ._specimens import VOCABULARY, WIDTH, Functional, Specimen, seeded
from ._varlen import FlashArguments, Varlen

# Checks by what a model can do: every one; without padding, documents and cache; without padding and documents.
EVERY = ("mask", "padding", "packing", "cache", "batch", "determinism")
_ALONE = ("mask", "batch", "determinism")
_CACHED = ("mask", "cache", "batch", "determinism")
_ENCODER = ("mask", "padding", "batch", "determinism")

#: Length of the sequence that the zoo is audited on.
LENGTH = 48


@dataclass(frozen=True)
class Honest:
    """A model, the mask that it honours, and the checks that must pass."""

    name: str
    make: Callable[[], nn.Module]
    expect: Mask | Mapping[str, Mask] | None = None
    checks: tuple[str, ...] = EVERY

    def build(self, seed: int = 0) -> nn.Module:
        """Build the model with weights of this seed."""
        return seeded(self.make, seed)


class Recurrent(nn.Module):
    """An LSTM; returns a tuple, and has dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(VOCABULARY, WIDTH), nn.Dropout(0.2)
        self.rnn = nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return self.rnn(self.dropout(self.embedding(ids)))


class Convolutional(nn.Module):
    """Causal convolutions, channels first, as in WaveNet."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, dilation=2**i) for i in range(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids).transpose(1, 2)
        # Padded on the left alone, so that an output sees no later input.
        for i, layer in enumerate(self.layers):
            x = x + torch.tanh(layer(nn.functional.pad(x, (2 * 2**i, 0))))
        return x.transpose(1, 2)


class TorchEncoder(nn.Module):
    """Encoder layers of torch, sequence first, with a causal mask: True = ignore, their convention."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 48, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        ignore = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        return self.encoder(self.embedding(ids).transpose(0, 1), mask=ignore).transpose(0, 1)


def _transformer(mask: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        config = ModelConfig(
            vocab_size=VOCABULARY, layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=64, mask=mask
        )
        model = Transformer(config)
        # The seed comes from torch's own state, which `Honest.build` has seeded.
        model.init_weights(torch.Generator().manual_seed(int(torch.randint(0, 1 << 30, ()))))
        return model

    return make


def _silent_layer() -> nn.Module:
    """Build a decoder with one layer at zero, as some recipes begin: it influences nothing, and that is no fault."""
    model = Specimen()
    nn.init.zeros_(model.blocks[1].attention.out.weight)  # type: ignore[union-attr]
    return model


def honest_models() -> list[Honest]:
    """Return models that need no other package than this one.

    >>> from maskwork.proof.zoo import honest_models
    >>> len(honest_models()) >= 15
    True
    """
    # Sinks are the first keys of the row, so padding on the left would move them: no check of padding.
    windowed = causal() & (sliding_window(5) | sinks(2))
    return [
        Honest("decoder", Specimen),
        Honest("decoder with dropout", lambda: Specimen(dropout=0.3)),
        Honest("decoder in bfloat16", lambda: Specimen().bfloat16()),
        Honest("decoder with a silent layer", _silent_layer),
        Honest("experts routed per token", lambda: Specimen(extras={1: Router()})),
        Honest("encoder with padding", lambda: Specimen(full()), full(), _ENCODER),
        Honest("prefix language model", lambda: Specimen(causal() | prefix(7)), causal() | prefix(7), _ALONE),
        Honest("sliding window with sinks", lambda: Specimen(windowed), windowed, _CACHED),
        Honest("sliding window", lambda: Specimen(sliding_window(6)), sliding_window(6)),
        Honest("chunked attention", lambda: Specimen(causal() & chunked(8)), causal() & chunked(8), _CACHED),
        Honest("packed documents", lambda: Specimen(_packed()), _packed(), _ALONE),
        Honest("documents by cu_seqlens", Varlen, causal(), ("packing",)),
        Honest("documents in transformers' names", FlashArguments, causal(), ("mask", "packing", "batch")),
        Honest("grouped queries, rotary positions", _transformer("causal")),
        Honest(
            "a window for each head",
            _transformer("causal & sliding_window([2, 6, 3, 3])"),
            causal() & sliding_window([2, 6, 3, 3]),
        ),
        Honest(
            "encoder-decoder, aligned as it goes",
            Translator,
            {"encoder": causal(), "cross": causal()},
            ("mask", "batch"),
        ),
        Honest("LSTM", Recurrent, causal(), _ALONE),
        Honest("causal convolution", Convolutional, causal(), _ALONE),
        Honest("torch's encoder layers, sequence first", TorchEncoder, causal(), _ALONE),
        Honest("a sum in a block", lambda: Specimen(extras={0: Functional(lambda x: x.cumsum(1) * 0.1)}), None, _ALONE),
    ]


def _packed() -> Mask:
    return causal() & document([16, 20, LENGTH - 36])


def hugging_face_models() -> list[Honest]:
    """Return tiny models of transformers, without `packing`: their default call does not separate documents."""
    import transformers as hf

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": VOCABULARY,
    }
    ends: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    wide: dict[str, Any] = {**sizes, **ends, "intermediate_size": 48}
    decoder = ("mask", "padding", "cache", "batch", "determinism")
    # Two layers of width 32 keep the audit fast; faults of a mask do not depend on the size.
    gpt2 = hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=VOCABULARY, n_positions=64, **ends)
    llama = hf.LlamaConfig(num_key_value_heads=2, **wide)
    mistral = hf.MistralConfig(num_key_value_heads=2, sliding_window=6, **wide)
    mixtral = hf.MixtralConfig(num_key_value_heads=2, num_local_experts=4, **wide)
    bert = hf.BertConfig(**wide)
    t5 = hf.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=VOCABULARY, **ends)
    return [
        Honest("GPT-2", lambda: hf.GPT2LMHeadModel(gpt2), causal(), decoder),
        Honest("Llama", lambda: hf.LlamaForCausalLM(llama), causal(), decoder),
        Honest("Mistral", lambda: hf.MistralForCausalLM(mistral), sliding_window(6), decoder),
        Honest("Mixtral", lambda: hf.MixtralForCausalLM(mixtral), causal(), decoder),
        Honest("BERT", lambda: hf.BertModel(bert), full(), _ENCODER),
        Honest("T5", lambda: hf.T5ForConditionalGeneration(t5), None, ("mask", "padding", "cache", "batch")),
    ]
