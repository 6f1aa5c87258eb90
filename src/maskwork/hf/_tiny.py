"""A Hugging Face configuration shrunk to a model of some ten thousand weights, of the same architecture."""

from __future__ import annotations

from typing import Any

from .._shared.numbers import is_integer

#: The most that a number of this name may be. What is not named stays.
_MOST = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "model_dim", "embedding_size", "embed_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size", "inner_dim", "dim_ff"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "mlp_hidden_size"), 32),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "feed_forward_proj_dim", "linear_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers",), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads",), 4),
    **dict.fromkeys(("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(
        ("head_dim", "d_kv", "attention_head_size", "dim_head", "kv_channels", "v_head_dim", "qk_nope_head_dim"), 16
    ),
    **dict.fromkeys(("qk_rope_head_dim", "rotary_dim", "qk_head_dim"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "time_step_rank", "lora_rank"), 16),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size"), 128),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"), 256),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "hidden_size_per_layer_input"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("mamba_d_ssm",), 128),
}

#: Where each layer has an entry, as many as there are layers are kept.
_PER_LAYER = (
    "layer_types",
    "mlp_layer_types",
    "layers_block_type",
    "attn_layer_indices",
    "no_rope_layers",
    "block_types",
)


def tiny(config: Any) -> Any:
    """Shrink `config` in place, the parts that it holds too, and return it; the kinds of its layers stay mixed."""
    heads = next(
        (getattr(config, n) for n in ("num_attention_heads", "n_head", "num_heads") if hasattr(config, n)), None
    )
    grouped = getattr(config, "num_key_value_heads", heads) != heads
    for name, most in _MOST.items():
        value = getattr(config, name, None)
        if is_integer(value) and int(value) > most:
            # A latent attention repeats its keys: it has as many key heads as heads, and must keep that.
            _set(config, name, most if grouped or name != "num_key_value_heads" else 4)
    layers = next((getattr(config, n) for n in ("num_hidden_layers", "n_layer", "num_layers") if hasattr(config, n)), 2)
    for name in _PER_LAYER:
        value = getattr(config, name, None)
        if isinstance(value, (list, tuple)) and is_integer(layers) and len(value) > int(layers):
            # The first of each kind, so that a model of two kinds keeps both.
            kinds = list(dict.fromkeys(value)) if all(isinstance(v, str) for v in value) else list(value)
            _set(config, name, (kinds + list(value))[: int(layers)])
    size = getattr(config, "vocab_size", None)
    for name, value in list(vars(config).items()):
        if name.endswith("_token_id") and is_integer(value) and is_integer(size) and int(value) >= int(size):
            _set(config, name, int(size) - 1)
        elif hasattr(value, "model_type") and hasattr(value, "to_dict"):
            tiny(value)
    return config


def _set(config: Any, name: str, value: Any) -> None:
    try:
        setattr(config, name, value)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return  # a property worked out from others: those are shrunk themselves
