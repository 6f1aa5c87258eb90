"""Does the audit report the five architectures that saw the future in transformers 5.17, and clear them since?

Run it once in an environment with transformers==5.17.0 and once with a release after it. RoFormer, BigBird, RemBert and
MegatronBert leaked in every call (huggingface/transformers#48745), Doge under sdpa alone (#48770).
"""

from __future__ import annotations

import torch
import transformers

import maskwork as mw

_DECODER = {"is_decoder": True}
_DOGE = {"num_key_value_heads": 2, "pad_token_id": 0}
#: Architecture and what its configuration needs beside the sizes.
CASES: list[tuple[str, dict[str, object]]] = [
    ("RoFormer", _DECODER),
    ("BigBird", {**_DECODER, "attention_type": "original_full"}),
    ("RemBert", _DECODER),
    ("MegatronBert", _DECODER),
    ("Doge", {**_DOGE, "attn_implementation": "sdpa"}),
    ("Doge", {**_DOGE, "attn_implementation": "eager"}),
]


def main() -> None:
    """Print one line for each architecture."""
    print(f"transformers {transformers.__version__}, torch {torch.__version__}\n")
    ids = torch.randint(5, 90, (31,), generator=torch.Generator().manual_seed(1))
    for name, options in CASES:
        config = getattr(transformers, f"{name}Config")(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            vocab_size=100,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=2,
            **options,
        )
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForCausalLM")(config)
        report = mw.audit(model, ids, mw.causal(), checks=["mask"])
        leaks = [f"{f.module} [{f.cause}], {f.pairs} pairs" for f in report.findings]
        title = f"{name}ForCausalLM {options.get('attn_implementation', '')}"
        print(f"{title:24} {report.checks['mask']:6} {'; '.join(leaks)}")


if __name__ == "__main__":
    main()
