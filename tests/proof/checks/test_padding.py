"""The check `padding`: a leak is placed in an encoder-decoder model too, with the decoder's tokens held still."""

import pytest

import maskwork as mw
from maskwork.proof.zoo import seeded, tokens


def test_padding_that_an_encoder_sees_is_placed():
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(
        d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=61, pad_token_id=0, decoder_start_token_id=0
    )
    model = seeded(lambda: transformers.T5ForConditionalGeneration(config), 0)

    def forget(module: object, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[object, object]:
        return args, {**kwargs, "attention_mask": None}

    model.encoder.register_forward_pre_hook(forget, with_kwargs=True)
    report = mw.audit(model, tokens(16, 0), checks=["padding"])
    assert report.checks["padding"] == "leak", str(report)
    finding = report.findings[0]
    assert finding.cause == mw.Cause.PADDING_VISIBLE
    assert finding.module is not None
    assert finding.module.startswith("encoder.block.0")
