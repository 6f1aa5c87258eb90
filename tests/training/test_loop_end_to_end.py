"""Text to tokens to rows to a trained model in a run folder, with nothing replaced by a stand-in."""

import pytest
import torch

from maskwork.data import Document, pack, train_tokenizer
from maskwork.models import ModelConfig, Transformer
from maskwork.objectives import CausalLM
from maskwork.training import RunFolder, TrainConfig, bits_per_byte, evaluate, train

TEXT = "def read_{0}(path):\n    with open(path) as file:\n        return file.{0}()\n"


def documents(names):
    return [Document(name, TEXT.format(name).encode()) for name in names]


def test_learns_text_it_was_not_trained_on(tmp_path):
    train_documents = documents(["lines", "text", "bytes", "json", "rows", "table", "header"])
    held_out = documents(["words"])
    tokenizer = train_tokenizer(train_documents, vocab_size=300)
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, layers=2, width=32, heads=4, kv_heads=2, hidden=64, context=64)

    def rows_of(some):
        return list(
            pack([tokenizer.encode_document(document.text) for document in some], shape.context, overflow="split")
        )

    rows, validation_rows = rows_of(train_documents), rows_of(held_out)
    n_bytes = len(held_out[0].content)
    config = TrainConfig(
        steps=40, batch_rows=4, accumulate=2, learning_rate=1e-2, warmup_steps=5, eval_every=20, save_every=20
    )
    sections = {"model": shape.to_dict(), "train": config.to_dict(), "data": {}}
    run = RunFolder.create(tmp_path / "run", sections)
    tokenizer.save(run.tokenizer_path)

    def validate(model):
        nats = evaluate(model, validation_rows, CausalLM(), batch_rows=8).nats
        return {"bits_per_byte": bits_per_byte(nats, n_bytes)}

    model = Transformer(shape)
    model.init_weights(torch.Generator().manual_seed(0))
    at_first = validate(model)["bits_per_byte"]
    result = train(model, rows, CausalLM(), config, run=run, validate=validate)
    assert result.validation["bits_per_byte"] < at_first / 2

    opened = RunFolder.open(run.path)
    assert opened.load_tokenizer().digest == tokenizer.digest
    loaded = opened.load_model()
    assert validate(loaded)["bits_per_byte"] == pytest.approx(result.validation["bits_per_byte"], abs=0)
    curve = [record["validation"]["bits_per_byte"] for record in opened.metrics() if "validation" in record]
    assert curve[-1] == result.validation["bits_per_byte"] < curve[0]
