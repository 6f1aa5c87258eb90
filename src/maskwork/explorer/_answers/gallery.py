"""Every atom and recipe with an example of it, and the models that it is known from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...masks import Mask, from_dense, parse, recipes
from ...masks._text.registry import atoms


@dataclass(frozen=True)
class GalleryEntry:
    """A mask to load: its text, the length that shows it best, and where it is used."""

    name: str
    group: str
    mask: str
    length: int
    used: str


def gallery() -> list[dict[str, Any]]:
    """Return every entry as JSON values."""
    return [asdict(entry) for entry in PATTERNS]


def _entry(name: str, group: str, mask: Mask | str, length: int, used: str = "") -> GalleryEntry:
    """Return an entry; where `used` is left out, it is what the registry says of the atom."""
    text = mask if isinstance(mask, str) else mask.to_text(arrays="full")
    return GalleryEntry(name, group, text, length, used or _meaning(parse(text)))


def _meaning(mask: Mask) -> str:
    """Return the registry's rule of an atom with the numbers of this mask, without Markdown's backticks."""
    spec = mask._spec()
    atom = next(atom for atom in atoms() if atom.name == spec.name)
    return atom.form_of(spec).rule(atom.values_of(spec)).replace("`", "")


#: A cross of cells, to show that any matrix will do.
_CROSS = [[i in (j, 8 - j) for j in range(9)] for i in range(9)]

#: Two images within a text.
_ISLANDS = [-1] * 5 + [0] * 8 + [-1] * 5 + [1] * 8 + [-1] * 2

_MODELS, _PARTS, _SPARSE, _JOINED = "Model families", "Atoms", "Sparse and structured", "Combinations"

PATTERNS = (
    _entry("GPT", _MODELS, recipes.gpt(), 32, "GPT, LLaMA and every plain decoder"),
    _entry("BERT", _MODELS, "full", 32, "BERT, RoBERTa, ViT: every token sees every other"),
    _entry("BERT, padded", _MODELS, "padding(24)", 32, "an encoder's batch, padded on the right to one length"),
    _entry("T5 / BART encoder", _MODELS, "padding(26)", 32, "encoder side: real tokens see real tokens"),
    _entry("Prefix LM", _MODELS, recipes.prefix_lm(10), 32, "T5's prefix LM, UL2's S-denoiser, PaliGemma"),
    _entry("Mistral", _MODELS, recipes.mistral(8), 32, "Mistral 7B, Gemma's local layers"),
    _entry("StreamingLLM", _MODELS, recipes.streaming_llm(8, 2), 32, "attention sinks, gpt-oss"),
    _entry("Longformer", _MODELS, recipes.longformer(8, [0, 16]), 32, "Longformer, LED: window and global"),
    _entry("BigBird", _MODELS, recipes.bigbird(4, 8, 2), 32, "BigBird: window, global and random blocks"),
    _entry("Packed training", _MODELS, recipes.packed([9, 14, 9]), 32,
            "documents in one row, none sees another"),
    _entry("Chunked local", _MODELS, recipes.chunked_local(8), 32, "Llama 4's local layers"),
    _entry("Streaming speech", _MODELS, recipes.streaming(4, 2), 32, "WeNet, NeMo: chunks and the two before each"),
    _entry("Gist tokens", _MODELS, recipes.gist(8, 3), 24, "what follows the gist tokens sees them, not the prompt"),
    _entry("Times", _MODELS, recipes.time_window([0, 1, 5, 6, 6, 9, 10, 11, 18, 19, 19, 20], 4), 12,
            "events at irregular times, a window of 4 units"),
    _entry("Images in text", _MODELS, recipes.multimodal(_ISLANDS), 28,
            "Gemma 3, PaliGemma 2: causal, both ways within an image"),
    _entry("Shared prompt", _MODELS, recipes.shared_prefix(8, [12, 12]), 32,
            "cascade inference: one prompt, answers that do not see each other"),
    _entry("Speculative tree", _MODELS, "tree([-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6])", 12,
            "Medusa, EAGLE, SpecInfer: drafts checked in one pass"),
    _entry("Next-scale images", _MODELS, recipes.next_scale([1, 4, 9, 16]), 30,
            "VAR: each scale sees all before it"),
    _entry("Block diffusion", _MODELS, recipes.block_diffusion(16, 4), 32,
            "BD3-LM's training: noisy tokens, then the same ones clean"),
    _entry("Flamingo", _MODELS, recipes.flamingo([-1, -1, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]), 8,
            "Flamingo, IDEFICS: text looks at the image before it"),
    _entry("Sliding tiles", _MODELS, recipes.sliding_tile((8, 8), (4, 4), (2, 2)), 64,
            "video diffusion: whole tiles see whole tiles"),
    _entry("Whisper decoder", _MODELS, "causal", 24, "Whisper's text side; its audio side is full"),
    _entry("full", _PARTS, "full", 16),
    _entry("empty", _PARTS, "empty", 16),
    _entry("causal", _PARTS, "causal", 16),
    _entry("sliding_window", _PARTS, "sliding_window(4)", 16),
    _entry("band", _PARTS, "band(3, 1)", 16),
    _entry("prefix", _PARTS, "prefix(5)", 16),
    _entry("padding", _PARTS, "padding(12)", 16),
    _entry("padding, left", _PARTS, "padding(starts=4)", 16),
    _entry("real", _PARTS, "real([[1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0]])", 16),
    _entry("document", _PARTS, "document([5, 7, 4])", 16),
    _entry("document by ids", _PARTS, "document(ids=[0, 1, 0, 1, 0, 0, 1, 1, 2, 2, 0, 1, 2, 2, -1, -1])", 16),
    _entry("real_queries", _PARTS, "real_queries([1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0])", 16),
    _entry("within", _PARTS, "within(causal | prefix(2), [5, 7, 4])", 16),
    _entry("sinks", _PARTS, "sinks(3)", 16),
    _entry("global_tokens", _PARTS, "global_tokens([0, 9])", 16),
    _entry("per_head", _PARTS, "per_head([causal, sliding_window(4)])", 16),
    _entry("per_row", _PARTS, "per_row([padding(10), padding(14)])", 16),
    _entry("match", _PARTS, "match([0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 2, 2, 2, 0, 1])", 8),
    _entry("packed", _PARTS, "packed(causal, [4, 9, 3], [7, 6, 3])", 16),
    _entry("shift", _PARTS, "causal.shift(q=0, k=4)", 16, "the same cells, further right"),
    _entry("from_dense", _PARTS, from_dense(_CROSS), 9),
    _entry("dilated", _SPARSE, "dilated(4, 3)", 32),
    _entry("chunked", _SPARSE, "chunked(8)", 32),
    _entry("chunked, with neighbours", _SPARSE, "chunked(8, left=1)", 32),
    _entry("blocks", _SPARSE, "blocks([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1]], 8)", 32),
    _entry("edges", _SPARSE, "edges([0, 1, 1, 2, 3, 4, 4, 5], [1, 0, 2, 2, 5, 3, 4, 0])", 6),
    _entry("block_causal", _SPARSE, "block_causal([8, 8, 8, 8])", 32),
    _entry("random_blocks", _SPARSE, "random_blocks(2, 4, 8, 7)", 32),
    _entry("tree", _SPARSE, "tree([-1, 0, 0, 1, 1, 2, 2])", 7),
    _entry("neighborhood", _SPARSE, "neighborhood([6, 6], [3, 3])", 36),
    _entry("from_spans", _SPARSE, "from_spans([0, 0, 1, 0, 2, 3, 5, 4], [1, 2, 3, 4, 4, 6, 7, 8])", 8),
    _entry("from_key_bounds", _SPARSE, "from_key_bounds([3, 3, 3, 8, 8, 8, 12, 12, 12, 12, 12, 12], "
            "[6, 6, 6, 10, 10, 10, 12, 12, 12, 12, 12, 12])", 12),
    _entry("rectangles", _SPARSE, "rectangles([[0, 8], [8, 16], [16, 24]], [[0, 8], [0, 12], [8, 20]], [1, 0, 2])", 24),
    _entry("StreamingLLM, long", _JOINED, "causal & (sliding_window(4096) | sinks(4))", 1 << 17, "at 131,072 tokens"),
    _entry("Packed, windowed", _JOINED, "within(causal & (sliding_window(6) | sinks(1)), [14, 18])", 32,
            "sinks and window restart with each document"),
    _entry("All but the sinks", _JOINED, "causal - sinks(2)", 32, "a difference: rows 0 and 1 see nothing"),
    _entry("Either, not both", _JOINED, "causal ^ sliding_window(8)", 32, "an exclusive or"),
)  # fmt: skip
