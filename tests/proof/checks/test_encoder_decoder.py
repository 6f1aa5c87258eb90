"""Encoder-decoder models: three masks, each judged alone."""

import pytest

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.proof.zoo import Specimen, seeded, tokens

IDS = tokens(24, 0)


def test_an_encoder_decoder_model_has_three_masks():
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=61)
    model = seeded(lambda: transformers.T5ForConditionalGeneration(config), 0)
    assert mw.audit(model, IDS, checks=["mask"]).ok
    assert not mw.audit(model, IDS, {"encoder": mw.causal()}, checks=["mask"]).ok
    cross = mw.audit(model, IDS, {"cross": mw.prefix(4), "encoder": mw.prefix(4)}, checks=["mask"])
    assert cross.findings[0].module.startswith("encoder.block.0")

    def deaf(module, args, named):
        return args, {**named, "position_bias": None}

    attention = model.decoder.block[1].layer[0].SelfAttention
    attention.is_causal = False
    attention.register_forward_pre_hook(deaf, with_kwargs=True)
    finding = mw.audit(model, IDS, checks=["mask"]).findings[0]
    assert (finding.module, finding.cause) == ("decoder.block.1.layer.0.SelfAttention", mw.Cause.NO_MASK)
    with pytest.raises(ArgumentError, match="masks of an encoder-decoder model are"):
        mw.audit(model, IDS, {"middle": mw.causal()})
    with pytest.raises(ArgumentError, match="for models with decoder_input_ids"):
        mw.audit(seeded(Specimen, 0), IDS, {"decoder": mw.causal()})
