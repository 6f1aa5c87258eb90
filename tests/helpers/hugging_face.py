"""Tiny models of transformers with random weights, one for each kind of mask, and the masks that they declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 16,
         "intermediate_size": 16, "vocab_size": 40, "max_position_embeddings": 64}  # fmt: skip
NO_SPECIAL = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
ENCODER = {name: size for name, size in SHAPE.items() if name != "num_key_value_heads"}
MIXED = ["sliding_attention", "full_attention"]


def _decoder(kind: str, config: str, **more: Any) -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        return getattr(transformers, kind)(getattr(transformers, config)(**{**SHAPE, **NO_SPECIAL, **more}))

    return build


def _other(kind: str, config: str, **shape: Any) -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        return getattr(transformers, kind)(getattr(transformers, config)(**shape))

    return build


#: name -> the function that builds the model, and the masks that the model declares, as text.
MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "mistral": (_decoder("MistralForCausalLM", "MistralConfig", sliding_window=6), "sliding_window(6)"),
    "mistral without": (_decoder("MistralForCausalLM", "MistralConfig", sliding_window=None), "causal"),
    "gemma2": (
        _decoder("Gemma2ForCausalLM", "Gemma2Config", head_dim=8, sliding_window=5),
        "sliding_window(5) in layer 0; causal in layer 1",
    ),
    "gemma3": (
        _decoder("Gemma3ForCausalLM", "Gemma3TextConfig", head_dim=8, sliding_window=5, num_hidden_layers=3,
                 layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
        "sliding_window(5) in layers 0, 1; causal in layer 2",
    ),
    "gemma3 both ways": (
        _decoder("Gemma3TextModel", "Gemma3TextConfig", head_dim=8, sliding_window=7, layer_types=MIXED,
                 use_bidirectional_attention=True),
        "band(3, 3) in layer 0; full in layer 1",
    ),
    "qwen2": (
        _decoder("Qwen2ForCausalLM", "Qwen2Config", use_sliding_window=True, sliding_window=7, max_window_layers=1),
        "causal in layer 0; sliding_window(7) in layer 1",
    ),
    "qwen2 without": (
        _decoder("Qwen2ForCausalLM", "Qwen2Config", use_sliding_window=False, sliding_window=7),
        "causal",
    ),
    "cohere2": (
        _decoder("Cohere2ForCausalLM", "Cohere2Config", sliding_window=3, layer_types=MIXED),
        "sliding_window(3) in layer 0; causal in layer 1",
    ),
    "gpt-oss": (
        _decoder("GptOssForCausalLM", "GptOssConfig", head_dim=8, sliding_window=5, num_local_experts=2,
                 num_experts_per_tok=1, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
        "sliding_window(5) in layer 0; causal in layer 1",
    ),
    "llama4": (
        _decoder("Llama4ForCausalLM", "Llama4TextConfig", head_dim=8, intermediate_size_mlp=16, num_local_experts=2,
                 attention_chunk_size=6, no_rope_layers=[1, 0]),
        "causal & chunked(6) in layer 0; causal in layer 1",
    ),
    "gpt-neo": (
        _other("GPTNeoForCausalLM", "GPTNeoConfig", vocab_size=40, hidden_size=16, num_layers=2, num_heads=2,
               window_size=5, attention_types=[[["global", "local"], 1]], max_position_embeddings=64,
               bos_token_id=None, eos_token_id=None),
        "causal in layer 0; sliding_window(5) in layer 1",
    ),
    "llama": (_decoder("LlamaForCausalLM", "LlamaConfig"), "causal"),
    "llama's body": (_decoder("LlamaModel", "LlamaConfig"), "causal"),
    "gpt2": (
        _other("GPT2LMHeadModel", "GPT2Config", vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=64,
               bos_token_id=None, eos_token_id=None),
        "causal",
    ),
    "bert": (_other("BertModel", "BertConfig", **ENCODER), "full"),
    "bert that decodes": (_other("BertModel", "BertConfig", **ENCODER, is_decoder=True), "causal"),
    "modernbert": (
        _other("ModernBertModel", "ModernBertConfig", **ENCODER, local_attention=6, global_attn_every_n_layers=2,
               cls_token_id=None, sep_token_id=None, **{**NO_SPECIAL, "pad_token_id": 0}),
        "full in layer 0; band(3, 3) in layer 1",
    ),
}  # fmt: skip


def built(name: str) -> Any:
    """Return the model in evaluation mode, with random weights from seed 0."""
    torch.manual_seed(0)
    return MODELS[name][0]().eval()
