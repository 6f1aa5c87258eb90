"""The masks that transformers' configurations declare are those that its models keep, layer by layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import maskwork as mw
from helpers.hugging_face import MODELS, built
from maskwork.hf import masks_text, own_masks

IDS = torch.arange(1, 17)


@pytest.mark.parametrize("name", MODELS)
def test_a_configuration_declares_the_masks_that_its_model_keeps(name: str):
    model = built(name)
    masks = own_masks(model)
    assert masks_text(masks) == MODELS[name][1]
    report = mw.audit(model, IDS, masks, checks=["mask"])
    assert report.ok, report
    # No window is wider than the model's: one that is a key narrower is not kept, in a layer that has one.
    narrower = tuple(mw.sliding_window(int(repr(m)[15:-1]) - 1) if "sliding" in repr(m) else m for m in masks)
    if narrower != masks:
        finding = mw.audit(model, IDS, narrower, checks=["mask"]).findings[0]
        layer = next(int(part) for part in finding.module.split(".") if part.isdigit())
        assert len(masks) == 1 or narrower[layer] != masks[layer]


def test_layers_that_keep_each_others_masks_are_caught():
    model = built("gemma3")
    masks = own_masks(model)
    assert len(masks) == 3
    # Layer 0 now sees everything, layer 2 a window: the union over the layers is the same as before.
    model.config.layer_types = list(reversed(model.config.layer_types))
    report = mw.audit(model, IDS, masks, checks=["mask"])
    assert not report.ok
    assert report.findings[0].module == "model.layers.0.self_attn"


def test_the_other_checks_run_on_layers_of_different_masks():
    """transformers builds its masks itself, so that none need be told to the model."""
    report = mw.audit(built("gemma3"), IDS, own_masks(built("gemma3")), checks=["mask", "padding", "cache", "batch"])
    assert report.checks == dict.fromkeys(["mask", "padding", "cache", "batch"], "clean")


def test_two_sequences_have_no_mask_per_layer():
    import transformers

    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    assert own_masks(transformers.T5ForConditionalGeneration(config)) == ()


def test_layers_may_have_windows_of_their_own():
    import transformers

    from helpers.hugging_face import SHAPE

    config = transformers.MistralConfig(
        **SHAPE, sliding_window=6, per_layer_config={1: {"sliding_window": 3}}, bos_token_id=None, eos_token_id=None
    )
    torch.manual_seed(0)
    model = transformers.MistralForCausalLM(config).eval()
    assert own_masks(model) == (mw.sliding_window(6), mw.sliding_window(3))
    both = transformers.NeoMMEConfig(**SHAPE, pad_token_id=0, bos_token_id=None, eos_token_id=None)
    assert (
        masks_text(own_masks(transformers.NeoMMEForMaskedLM(both).eval()))
        == "band(256, 256) in layer 0; full in layer 1"
    )


@pytest.mark.parametrize(
    ("changes", "declared"),
    [
        ({"sliding_window": None}, "causal"),
        ({"sliding_window": 0}, "causal"),
        ({"sliding_window": True}, "causal"),
        ({"sliding_window": 6, "use_sliding_window": False}, "causal"),
        ({"sliding_window": 6, "layer_types": ["full_attention"] * 2}, "causal"),
        ({"sliding_window": 6, "layer_types": ["sliding_attention"] * 2}, "sliding_window(6)"),
        ({"sliding_window": 6, "layer_types": ["linear_attention", "sliding_attention"]},
         "causal in layer 0; sliding_window(6) in layer 1"),
        ({"attention_chunk_size": 4, "sliding_window": None}, "causal & chunked(4)"),
        ({"is_encoder_decoder": True}, ""),
    ],
)  # fmt: skip
def test_what_a_configuration_may_say(changes: dict[str, Any], declared: str):
    class Config:
        model_type = "mistral"

    class MistralForCausalLM:
        config = Config()

    for key, value in changes.items():
        setattr(MistralForCausalLM.config, key, value)
    masks = own_masks(MistralForCausalLM())
    assert (masks_text(masks) if masks else "") == declared
