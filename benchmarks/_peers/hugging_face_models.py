"""Hugging Face transformers: what the layers of its models attend to, read from tiny models' own attention weights.

A weight above 0 is a cell that the model allows. The rows of padded queries are not compared: under `"eager"` a row
that sees nothing sees everything.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import torch
import transformers
from transformers.models.gemma3.modeling_gemma3 import get_block_sequence_ids_for_mask

from .hugging_face import attention_mask
from .table import Array, Case, Peer

PEER = Peer("Hugging Face transformers, models", f"its tiny models, {transformers.__version__}")

N, WINDOW = 9, 3
_SIZES = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "pad_token_id": 0,
}  # fmt: skip
_DECODER = {**_SIZES, "num_key_value_heads": 1}
_LOCAL = {**_DECODER, "head_dim": 8, "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}

#: model -> its configuration, and what its layers attend to
DECODERS: dict[str, tuple[dict[str, Any], str]] = {
    "Llama": (_DECODER, "causal causal"),
    "Mistral": ({**_DECODER, "sliding_window": WINDOW}, "window window"),
    "Mixtral": ({**_DECODER, **_EXPERTS, "sliding_window": WINDOW}, "window window"),
    "Phi3": ({**_DECODER, "sliding_window": WINDOW}, "window window"),
    "Qwen2": (
        {**_DECODER, "sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 1}, "causal window",
    ),
    "Qwen3": (
        {**_LOCAL, "use_sliding_window": True, "layer_types": ["full_attention", "sliding_attention"]}, "causal window",
    ),
    "Starcoder2": ({**_DECODER, "sliding_window": WINDOW}, "window window"),
    "Gemma2": (_LOCAL, "window causal"),
    "Gemma3Text": (_LOCAL, "window causal"),
    "GptOss": ({**_LOCAL, **_EXPERTS}, "window causal"),
    "Cohere2": (_LOCAL, "window causal"),
    "Olmo3": (_LOCAL, "window causal"),
    "Llama4Text": (
        {**_DECODER, **_EXPERTS, "head_dim": 8, "attention_chunk_size": WINDOW, "intermediate_size_mlp": 16,
         "layer_types": ["chunked_attention", "full_attention"]}, "chunk causal",
    ),
    "GPT2": ({"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2}, "causal causal"),
    "GPTNeo": (
        {"vocab_size": 40, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "window_size": WINDOW,
         "attention_types": [[["global", "local"], 1]]}, "causal window",
    ),
    "OPT": ({**_SIZES, "ffn_dim": 16, "word_embed_proj_dim": 16}, "causal causal"),
    "Bloom": ({"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 2}, "causal causal"),
    "Falcon": (_SIZES, "causal causal"),
}  # fmt: skip
ENCODERS: dict[str, tuple[dict[str, Any], str]] = {
    "Bert": (_SIZES, "real real"),
    "Roberta": (_SIZES, "real real"),
    "Electra": ({**_SIZES, "embedding_size": 16}, "real real"),
    "DistilBert": ({"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16}, "real real"),
    "ModernBert": ({**_SIZES, "local_attention": 4, "global_attn_every_n_layers": 2}, "real local"),
}


@cache
def model_of(name: str) -> Any:
    """Return a tiny model with random weights whose layers return their attention weights."""
    options, _ = (DECODERS | ENCODERS)[name]
    config = getattr(transformers, f"{name}Config")(**options)
    config._attn_implementation = "eager"
    return _seeded(lambda: transformers.AutoModel.from_config(config))


def _seeded(make: Any) -> Any:
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()  # it warns of token ids beyond so small a vocabulary
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().eval()


@torch.no_grad()
def layers_of(name: str, marks: torch.Tensor, past: int = 0) -> list[Array]:
    """Return the cells that each layer allows to the queries after the first `past` tokens, which are in the cache."""
    model = model_of(name)
    ids = torch.arange(2, 2 + marks.numel()).view(marks.shape) % 38 + 2
    cached = {}
    if past:
        first = model(input_ids=ids[:, :past], attention_mask=marks[:, :past], use_cache=True)
        cached = {"past_key_values": first.past_key_values, "use_cache": True}
    out = model(input_ids=ids[:, past:], attention_mask=marks, output_attentions=True, **cached)
    return [(weights > 0).numpy() for weights in out.attentions]


def _layers(kind: str, models: dict[str, tuple[dict[str, Any], str]], steps: tuple[int, ...]) -> Iterator[Case]:
    """Yield the layers of this kind, with padding on either side and with `steps` tokens in the cache."""
    for (name, (_, kinds)), padding, past in product(models.items(), ["none", "left", "right"], steps):
        if past and (padding == "right" or "chunk" in kinds):
            continue  # a batch is padded on the left for generation; the cache of chunks drops keys by their number
        marks = attention_mask(padding, N)
        for layer, cells in enumerate(layers_of(name, marks, past)):
            if kinds.split()[layer] == kind:
                yield {"theirs": cells, "model": name, "layer": layer, "attention_mask": marks, "q_len": N - past,
                       "kv_len": N, "past": past, "W": WINDOW, "held": range(N - cells.shape[-1], N),
                       "compared": marks[:, None, past:, None].bool()}  # fmt: skip


@PEER.row(
    "full-attention layers of Llama, Mistral, Qwen, Gemma, GPT-OSS, GPT-2, OPT, BLOOM, Falcon …",
    "(causal() & real(attention_mask)).bind(q_len, kv_len, q_start=past)",
)
def causal_layers() -> Iterator[Case]:
    yield from _layers("causal", DECODERS, (0, N - 1, N - 2))


@PEER.row(
    "sliding layers of Mistral, Mixtral, Phi-3, Qwen, StarCoder2, Gemma 2 and 3, GPT-OSS, Cohere 2, OLMo 3, GPT-Neo",
    "(sliding_window(W) & real(attention_mask)).bind(q_len, kv_len, q_start=past).select(k=held)",
    note="`held`: the positions of the keys that the rolling cache holds",
)
def sliding_layers() -> Iterator[Case]:
    yield from _layers("window", DECODERS, (0, N - 1, N - 2))


@PEER.row(
    "chunked layers of Llama 4",
    "(per_row([(causal() & chunked(W)).shift(q=n, k=n) for n in left]) & real(attention_mask)).bind(q_len)",
    note="`left` counts the padding on the left of each row",
)
def chunked_layers() -> Iterator[Case]:
    for case in _layers("chunk", DECODERS, (0,)):
        left = case["attention_mask"].argmax(1)
        yield {**case, "left": left.tolist()}


@PEER.row(
    "layers of BERT, RoBERTa, ELECTRA, DistilBERT",
    "real(attention_mask).bind(q_len)",
)
def encoder_layers() -> Iterator[Case]:
    yield from _layers("real", ENCODERS, (0,))


@PEER.row(
    "local layers of ModernBERT, `local_attention=W`",
    "(band(W // 2, W // 2) & real(attention_mask)).bind(q_len)",
)
def modern_bert() -> Iterator[Case]:
    for case in _layers("local", ENCODERS, (0,)):
        yield {**case, "W": 4}


@cache
def _gemma3() -> Any:
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    config = transformers.Gemma3Config(text_config=_LOCAL, vision_config=vision, mm_tokens_per_image=4)
    config._attn_implementation = config.text_config._attn_implementation = "eager"
    return _seeded(lambda: transformers.Gemma3Model(config))


def _gemma3_layers() -> Iterator[Case]:
    patterns = ([0, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1, 0], [0] * N)
    for pattern, padding in product(patterns, ["none", "right"]):
        marks = attention_mask(padding, N)
        types = torch.tensor([pattern, [0] * N])
        with torch.no_grad():
            out = _gemma3()(
                input_ids=torch.arange(2, 2 + 2 * N).view(2, N), attention_mask=marks, token_type_ids=types,
                output_attentions=True,
            )  # fmt: skip
        ids = get_block_sequence_ids_for_mask(types)
        for layer, weights in enumerate(out.attentions):
            yield {"theirs": (weights > 0).numpy(), "layer": layer, "ids": ids, "attention_mask": marks, "n": N,
                   "W": WINDOW, "compared": marks[:, None, :, None].bool()}  # fmt: skip


@PEER.row(
    "Gemma 3 with images, full layers",
    "(recipes.multimodal(ids) & real(attention_mask)).bind(n)",
    note="`ids`: the image of each token, -1 for text",
)
def gemma3_images() -> Iterator[Case]:
    yield from (case for case in _gemma3_layers() if case["layer"] == 1)


@PEER.row(
    "Gemma 3 with images, sliding layers",
    "(recipes.multimodal(ids) & band(W - 1, None) & real(attention_mask)).bind(n)",
    note="the window cuts what lies behind an image's token, also in its own image",
)
def gemma3_images_sliding() -> Iterator[Case]:
    yield from (case for case in _gemma3_layers() if case["layer"] == 0)


@cache
def _seq2seq(name: str) -> Any:
    options = {
        "T5": {"d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
        "Bart": {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
                 "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
    }[name]  # fmt: skip
    config = getattr(transformers, f"{name}Config")(vocab_size=40, d_model=16, **options)
    config._attn_implementation = "eager"
    return _seeded(lambda: transformers.AutoModel.from_config(config))


def _seq2seq_layers(part: str) -> Iterator[Case]:
    for name, padding, q_len in product(["T5", "Bart"], ["none", "left", "right"], (1, 5, N, 12)):
        marks = attention_mask(padding, N)
        targets = attention_mask("right" if padding == "right" else "none", q_len)
        with torch.no_grad():
            out = _seq2seq(name)(
                input_ids=torch.arange(2, 2 + 2 * N).view(2, N), attention_mask=marks,
                decoder_input_ids=torch.arange(2, 2 + 2 * q_len).view(2, q_len), decoder_attention_mask=targets,
                output_attentions=True,
            )  # fmt: skip
        for weights in getattr(out, part):
            real = (marks if part == "encoder_attentions" else targets)[:, None, :, None].bool()
            yield {"theirs": (weights > 0).numpy(), "model": name, "attention_mask": marks,
                   "decoder_attention_mask": targets, "q_len": q_len, "kv_len": N, "compared": real}  # fmt: skip


@PEER.row("encoders of T5 and BART", "real(attention_mask).bind(kv_len)")
def seq2seq_encoders() -> Iterator[Case]:
    yield from _seq2seq_layers("encoder_attentions")


@PEER.row(
    "decoders of T5 and BART",
    "(causal() & real(decoder_attention_mask)).bind(q_len)",
)
def seq2seq_decoders() -> Iterator[Case]:
    yield from _seq2seq_layers("decoder_attentions")


@PEER.row(
    "cross-attention of T5 and BART",
    "real(attention_mask).bind(q_len, kv_len, q_start=0)",
)
def seq2seq_cross() -> Iterator[Case]:
    yield from _seq2seq_layers("cross_attentions")


@PEER.row(
    "T5's `relative_attention_bias`",
    "mw.relative_bias(table, bidirectional=bidirectional).dense(q_start, q_len, kv_len)",
)
def t5_bias() -> Iterator[Case]:
    for stack, (q_start, q_len, kv_len) in product(["encoder", "decoder"], [(0, 5, 5), (0, 200, 200), (7, 1, 8)]):
        attention = getattr(_seq2seq("T5"), stack).block[0].layer[0].SelfAttention
        bias = attention.compute_bias(q_len, kv_len, past_seen_tokens=q_start).detach()
        table = attention.relative_attention_bias.weight.detach()
        yield {"theirs": bias, "table": table, "bidirectional": stack == "encoder", "q_start": q_start, "q_len": q_len,
               "kv_len": kv_len}  # fmt: skip


@PEER.row(
    "BLOOM's ALiBi",
    "mw.attention(q, k, v, causal(), bias=alibi(slopes))",
    note="a bias by the key alone, which the softmax turns into one by distance",
)
def bloom_alibi() -> Iterator[Case]:
    from transformers.models.bloom.modeling_bloom import _get_alibi_slopes, build_alibi_tensor

    for n, heads in product((3, 8), (2, 4)):
        generator = torch.Generator().manual_seed(n)
        q, k, v = (torch.randn(1, heads, n, 4, generator=generator) for _ in range(3))
        bias = build_alibi_tensor(torch.ones(1, n), heads, torch.float32).view(1, heads, 1, n)
        scores = q @ k.mT / 2 + bias + torch.full((n, n), -math.inf).triu(1)
        yield {"theirs": scores.softmax(-1) @ v, "q": q, "k": k, "v": v, "slopes": _get_alibi_slopes(heads, q.device)}


def _self_attention(model: Any, attention: Any, **inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a layer's self-attention reads and what it writes."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = attention.register_forward_hook(lambda _, args, out: seen.append((args[0], out[0])))
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    return seen[0]


def _heads(x: torch.Tensor, linear: Any) -> torch.Tensor:
    return linear(x).detach().unflatten(-1, (2, -1)).transpose(1, 2)


@PEER.row(
    "Longformer, `attention_window=W`, `global_attention_mask`",
    "mw.attention(q, k, v, (recipes.longformer(W, globals) & real(attention_mask)).bind(n))[:, :, ordinary]",
    note="global queries have projections of their own there: compare the ordinary ones",
)
def longformer() -> Iterator[Case]:
    config = transformers.LongformerConfig(**_SIZES, attention_window=4, max_position_embeddings=64)
    model = _seeded(lambda: transformers.LongformerModel(config))
    attention = model.encoder.layer[0].attention.self
    for positions, padding in product([[], [0], [0, 5, 6], [15]], ["none", "right"]):
        n = 16
        marks = attention_mask(padding, n)
        marks[:, positions] = 1
        tokens = torch.zeros_like(marks)
        tokens[:, positions] = 1
        x, out = _self_attention(
            model, attention, input_ids=torch.arange(2, 2 + 2 * n).view(2, n), attention_mask=marks,
            global_attention_mask=tokens,
        )  # fmt: skip
        x = x if x.shape[0] == 2 else x.transpose(0, 1)
        q, k, v = (_heads(x, getattr(attention, part)) for part in ("query", "key", "value"))
        ordinary = [i for i in range(n) if i not in positions and bool(marks[:, i].all())]
        theirs = out.view(2, n, 2, -1).transpose(1, 2)[:, :, ordinary]
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "W": 4, "globals": positions, "attention_mask": marks, "n": n,
               "ordinary": ordinary}  # fmt: skip


@PEER.row(
    "BigBird in inference, `block_size=s`, `num_random_blocks=r`",
    "mw.attention(q, k, v, recipes.bigbird(s, blocks, random=0).bind(n), bias=bias)",
    note="its random blocks are all block 0 in inference, which is counted 1 + r times: `bias` is `log(1 + r)` there, "
    "for the queries that are not in the first or last block",
)
def bigbird() -> Iterator[Case]:
    for size, blocks, drawn in product((2, 4), (12, 13), (1, 3)):
        n = size * blocks
        config = transformers.BigBirdConfig(
            **_SIZES, block_size=size, num_random_blocks=drawn, attention_type="block_sparse",
            max_position_embeddings=64,
        )  # fmt: skip
        model = _seeded(lambda config=config: transformers.BigBirdModel(config))
        attention = model.encoder.layer[0].attention.self
        x, out = _self_attention(model, attention, input_ids=torch.arange(2 * n).view(2, n) % 38 + 2)
        q, k, v = (_heads(x, getattr(attention, part)) for part in ("query", "key", "value"))
        bias = torch.zeros(n, n)
        bias[size:-size, :size] = math.log(1 + drawn)
        theirs = out.view(2, n, 2, -1).transpose(1, 2)
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "s": size, "blocks": blocks, "n": n, "r": drawn, "bias": bias}


@PEER.row(
    "GPT-OSS's `sinks`",
    "mw.attention(q, k, v, causal(), sinks=logits)",
    note="one logit for each query head",
)
def gpt_oss_sinks() -> Iterator[Case]:
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    for n, heads in product((1, 4, 9), (2, 4)):
        generator = torch.Generator().manual_seed(n)
        q, k, v = (torch.randn(2, h, n, 4, generator=generator) for h in (heads, 2, 2))
        module = torch.nn.Module()
        module.sinks = torch.nn.Parameter(torch.randn(heads, generator=generator), requires_grad=False)
        module.num_key_value_groups = heads // 2
        hidden = torch.full((1, 1, n, n), -math.inf).triu(1)
        out, _ = eager_attention_forward(module.eval(), q, k, v, hidden, scaling=0.5)
        yield {"theirs": out.transpose(1, 2), "q": q, "k": k, "v": v, "logits": module.sinks.detach()}


@PEER.row(
    "Gemma 2's `attn_logit_softcapping`",
    "mw.attention(q, k, v, causal(), softcap=softcap)",
)
def gemma2_softcap() -> Iterator[Case]:
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    for n, softcap in product((1, 4, 9), (0.5, 2.0, 50.0)):
        generator = torch.Generator().manual_seed(n)
        q, k, v = (torch.randn(2, h, n, 4, generator=generator) for h in (4, 2, 2))
        module = torch.nn.Module()
        module.num_key_value_groups = 2
        hidden = torch.full((1, 1, n, n), -math.inf).triu(1)
        out, _ = eager_attention_forward(module.eval(), q, k, v, hidden, scaling=0.5, softcap=softcap)
        yield {"theirs": out.transpose(1, 2), "q": q, "k": k, "v": v, "softcap": softcap}
