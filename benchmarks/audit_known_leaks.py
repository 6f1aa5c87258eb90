"""Does the audit report the four architectures that saw the future in transformers 5.9 to 5.17, and clear them since?

Run it once in an environment with transformers==5.17.0 and once with a release after it.
"""

from __future__ import annotations

import torch
import transformers

import maskwork as mw

NAMES = ("RoFormer", "BigBird", "RemBert", "MegatronBert")


def main() -> None:
    """Print one line for each architecture."""
    print(f"transformers {transformers.__version__}, torch {torch.__version__}\n")
    ids = torch.randint(5, 90, (31,), generator=torch.Generator().manual_seed(1))
    for name in NAMES:
        options = {"attention_type": "original_full"} if name == "BigBird" else {}
        config = getattr(transformers, f"{name}Config")(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            vocab_size=100,
            is_decoder=True,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=2,
            **options,
        )
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForCausalLM")(config)
        report = mw.audit(model, ids, mw.causal(), checks=["mask"])
        found = [f"{f.module} [{f.cause}], {f.pairs} pairs" for f in report.findings]
        print(f"{name + 'ForCausalLM':24} {report.checks['mask']:6} {'; '.join(found)}")


if __name__ == "__main__":
    main()
