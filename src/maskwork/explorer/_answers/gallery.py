"""Every atom and recipe with an example of it, and the models that it is known from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...masks import from_dense, recipes
from ...masks._text.full import full_text


@dataclass(frozen=True)
class Pattern:
    """A mask to load: its text, the length that shows it best, and where it is used."""

    name: str
    group: str
    mask: str
    length: int
    used: str


def gallery() -> list[dict[str, Any]]:
    """All of them, as JSON values."""
    return [asdict(pattern) for pattern in PATTERNS]


#: A cross of cells, to show that any matrix will do.
_CROSS = [[i in (j, 8 - j) for j in range(9)] for i in range(9)]

#: Two images within a text.
_ISLANDS = [-1] * 5 + [0] * 8 + [-1] * 5 + [1] * 8 + [-1] * 2

_MODELS, _PARTS, _SPARSE, _JOINED = "Model families", "Atoms", "Sparse and structured", "Combinations"

PATTERNS = (
    Pattern("GPT", _MODELS, full_text(recipes.gpt()), 32, "GPT, LLaMA and every plain decoder"),
    Pattern("BERT", _MODELS, "full", 32, "BERT, RoBERTa, ViT: every token sees every other"),
    Pattern("BERT, padded", _MODELS, "padding(24)", 32, "an encoder's batch, padded on the right to one length"),
    Pattern("T5 / BART encoder", _MODELS, "padding(26)", 32, "encoder side: real tokens see real tokens"),
    Pattern("Prefix LM", _MODELS, full_text(recipes.prefix_lm(10)), 32, "T5's prefix LM, UL2's S-denoiser, PaliGemma"),
    Pattern("Mistral", _MODELS, full_text(recipes.mistral(8)), 32, "Mistral 7B, Gemma's local layers"),
    Pattern("StreamingLLM", _MODELS, full_text(recipes.streaming_llm(8, 2)), 32, "attention sinks, gpt-oss"),
    Pattern("Longformer", _MODELS, full_text(recipes.longformer(8, [0, 16])), 32, "Longformer, LED: window and global"),
    Pattern("BigBird", _MODELS, full_text(recipes.bigbird(4, 8, 2)), 32, "BigBird: window, global and random blocks"),
    Pattern("Packed training", _MODELS, full_text(recipes.packed([9, 14, 9])), 32,
            "documents in one row, none sees another"),
    Pattern("Chunked local", _MODELS, full_text(recipes.chunked_local(8)), 32, "Llama 4's local layers"),
    Pattern("Images in text", _MODELS, full_text(recipes.multimodal(_ISLANDS)), 28,
            "Gemma 3, PaliGemma 2: causal, both ways within an image"),
    Pattern("Shared prompt", _MODELS, full_text(recipes.shared_prefix(8, [12, 12])), 32,
            "cascade inference: one prompt, answers that do not see each other"),
    Pattern("Speculative tree", _MODELS, "tree([-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6])", 12,
            "Medusa, EAGLE, SpecInfer: drafts checked in one pass"),
    Pattern("Next-scale images", _MODELS, full_text(recipes.next_scale([1, 4, 9, 16])), 30,
            "VAR: each scale sees all before it"),
    Pattern("Block diffusion", _MODELS, full_text(recipes.block_diffusion(16, 4)), 32,
            "BD3-LM's training: noisy tokens, then the same ones clean"),
    Pattern("Flamingo", _MODELS, full_text(recipes.flamingo([-1, -1, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1])), 8,
            "Flamingo, IDEFICS: text looks at the image before it"),
    Pattern("Sliding tiles", _MODELS, full_text(recipes.sliding_tile((8, 8), (4, 4), (2, 2))), 64,
            "video diffusion: whole tiles see whole tiles"),
    Pattern("Whisper decoder", _MODELS, "causal", 24, "Whisper's text side; its audio side is full"),
    Pattern("full", _PARTS, "full", 16, "no mask at all"),
    Pattern("empty", _PARTS, "empty", 16, "no key for any query: every output is 0"),
    Pattern("causal", _PARTS, "causal", 16, "key k for query q where k <= q"),
    Pattern("sliding_window", _PARTS, "sliding_window(4)", 16, "the last 4 keys, the query's own included"),
    Pattern("band", _PARTS, "band(3, 1)", 16, "3 to the left, 1 to the right"),
    Pattern("prefix", _PARTS, "prefix(5)", 16, "the first 5 keys, for every query"),
    Pattern("padding", _PARTS, "padding(12)", 16, "real keys: the first 12"),
    Pattern("padding, left", _PARTS, "padding(starts=4)", 16, "real keys: from 4 on"),
    Pattern("real", _PARTS, "real([[1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0]])", 16, "keys marked real"),
    Pattern("document", _PARTS, "document([5, 7, 4])", 16, "same document"),
    Pattern("document by ids", _PARTS, "document(ids=[0, 1, 0, 1, 0, 0, 1, 1, 2, 2, 0, 1, 2, 2, -1, -1])", 16,
            "same id, wherever it stands; an id below 0 belongs to none"),
    Pattern("within", _PARTS, "within(causal | prefix(2), [5, 7, 4])", 16, "a mask that restarts in each document"),
    Pattern("sinks", _PARTS, "sinks(3)", 16, "the first 3 keys"),
    Pattern("global_tokens", _PARTS, "global_tokens([0, 9])", 16, "query or key is one of them"),
    Pattern("per_head", _PARTS, "per_head([causal, sliding_window(4)])", 16, "one mask for each head"),
    Pattern("per_row", _PARTS, "per_row([padding(10), padding(14)])", 16, "one mask for each row of the batch"),
    Pattern("match", _PARTS, "match([0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 2, 2, 2, 0, 1])", 8,
            "cross-attention by group: equal ids"),
    Pattern("shift", _PARTS, "causal.shift(q=0, k=4)", 16, "the same cells, further right"),
    Pattern("from_dense", _PARTS, full_text(from_dense(_CROSS)), 9, "any cells at all, written out"),
    Pattern("dilated", _SPARSE, "dilated(4, 3)", 32, "every third key, four hops to either side"),
    Pattern("chunked", _SPARSE, "chunked(8)", 32, "same chunk of 8"),
    Pattern("block_causal", _SPARSE, "block_causal([8, 8, 8, 8])", 32, "chunk by chunk, as in streaming speech"),
    Pattern("random_blocks", _SPARSE, "random_blocks(2, 4, 8, 7)", 32, "two random blocks a row, the same everywhere"),
    Pattern("tree", _SPARSE, "tree([-1, 0, 0, 1, 1, 2, 2])", 7, "a node sees itself and its ancestors"),
    Pattern("neighborhood", _SPARSE, "neighborhood([6, 6], [3, 3])", 36, "NATTEN: local windows on an image"),
    Pattern("StreamingLLM, long", _JOINED, "causal & (sliding_window(4096) | sinks(4))", 1 << 17, "at 131,072 tokens"),
    Pattern("Packed, windowed", _JOINED, "within(causal & (sliding_window(6) | sinks(1)), [14, 18])", 32,
            "sinks and window restart with each document"),
    Pattern("All but the sinks", _JOINED, "causal - sinks(2)", 32, "a difference: rows 0 and 1 see nothing"),
    Pattern("Either, not both", _JOINED, "causal ^ sliding_window(8)", 32, "an exclusive or"),
)  # fmt: skip
