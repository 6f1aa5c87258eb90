"""Small models of every kind that the explorer opens, and folders of them, with `causal` and with wider masks."""

from __future__ import annotations

from pathlib import Path

import torch

from maskwork.models import ModelConfig, Transformer, save_weights
from maskwork.training import RunFolder

#: A prompt for every model.
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]


def transformer(mask: str = "causal") -> Transformer:
    config = ModelConfig(vocab_size=20, layers=2, width=16, heads=4, kv_heads=2, hidden=16, context=16, mask=mask)
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(1))
    return model.eval()


def write_run(root: Path, name: str, mask: str) -> None:
    """Write a run folder as `maskwork train` does, without a tokenizer."""
    model = transformer(mask)
    run = RunFolder.create(root / name, {"model": model.config.to_dict(), "train": {}, "data": {}})
    save_weights(model, run.model_path)


def write_folders(root: Path) -> None:
    """Write runs `clean`, `ahead` (one key too far) and `everything`, and Hugging Face's `llama` and `bert`."""
    import transformers

    for name, mask in (("clean", "causal"), ("ahead", "causal | band(0, 1)"), ("everything", "full")):
        write_run(root, name, mask)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 8,
             "vocab_size": 20, "max_position_embeddings": 16}  # fmt: skip
    torch.manual_seed(0)
    special = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **special)).save_pretrained(root / "llama")
    transformers.BertModel(transformers.BertConfig(**shape)).save_pretrained(root / "bert")
