"""Packed documents, each under a mask of its own, give the loss and gradients of each alone; transformers agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.data import IGNORED, Example, Reason, pack
from maskwork.objectives import Batch, CausalLM, collate, pad

VOCABULARY = 23


def prefix_example(tokens: np.ndarray, prefix: int) -> Example:
    """A prefix-LM's: its first `prefix` tokens see each other, and those after are predicted."""
    targets = np.append(tokens[1:], IGNORED)
    targets[: prefix - 1] = IGNORED
    scored = targets != IGNORED
    reasons = np.where(scored, Reason.SCORED, Reason.CONTEXT).astype(np.uint8)
    return Example(tokens, targets, scored.astype(np.float32), mw.recipes.prefix_lm(prefix), reasons)


def documents() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, VOCABULARY, size=size) for size in (9, 3, 6, 12, 2, 5, 7, 4)]


def prefixed() -> list[Example]:
    return [prefix_example(tokens, 1 + number % 3) for number, tokens in enumerate(documents())]


def weighted() -> list[Example]:
    """Weights other than 1, a window, and no target at all in one document."""
    rng = np.random.default_rng(1)
    mask = mw.causal() & mw.sliding_window(4)
    out = []
    for number, tokens in enumerate(documents()):
        example = CausalLM(mask).example(tokens)
        weights = example.weights * rng.random(len(tokens), dtype=np.float32) * (number != 2)
        out.append(Example(tokens, np.where(weights > 0, example.targets, IGNORED), weights, mask, example.reasons))
    return out


@pytest.fixture
def model():
    torch.manual_seed(0)
    shape = mw.models.ModelConfig(vocab_size=VOCABULARY, layers=2, width=24, heads=4, kv_heads=2, hidden=32, context=32)
    return mw.models.Transformer(shape).double()


def loss_and_gradients(model: mw.models.Transformer, batches: list[Batch]) -> tuple[float, list[torch.Tensor]]:
    """Of the mean over all targets of all batches."""
    model.zero_grad()
    total = 0.0
    weight = sum(batch.weight_sum for batch in batches)
    for batch in batches:
        logits = model(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)
        out = mw.masked_cross_entropy(logits, batch.targets, batch.weights, denominator=weight)
        out.loss.backward()
        total += float(out.loss.detach())
    return total, [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("make", [prefixed, weighted])
@pytest.mark.parametrize("strategy", ["best_fit", "first_fit", "sequential"])
def test_packed_is_separate(model: mw.models.Transformer, make, strategy: str):
    examples = make()
    rows = list(pack(examples, 16, strategy))
    assert max(len(row.examples) for row in rows) >= 3
    batch = collate(rows)
    assert batch.weight_sum == pytest.approx(sum(float(example.weights.sum()) for example in examples), rel=1e-6)
    alone = loss_and_gradients(model, [collate(pad([example])) for example in examples])
    for batches in ([batch], [collate([row]) for row in rows]):
        loss, gradients = loss_and_gradients(model, batches)
        assert loss == pytest.approx(alone[0], rel=1e-12)
        for mine, theirs in zip(gradients, alone[1], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_a_document_under_its_neighbours_mask_would_be_seen(model: mw.models.Transformer):
    """The test above can fail: one prefix for all is another loss."""
    examples = prefixed()
    alone, _ = loss_and_gradients(model, [collate(pad([example])) for example in examples])
    one = [Example(e.tokens, e.targets, e.weights, mw.recipes.prefix_lm(3), e.reasons) for e in examples]
    loss, _ = loss_and_gradients(model, [collate(list(pack(one, 16)))])
    assert abs(loss - alone) > 1e-6


@pytest.mark.parametrize("strategy", ["best_fit", "first_fit", "sequential", "pad"])
def test_nothing_is_scored_across_a_boundary(strategy: str):
    batch = CausalLM()(list(pack(documents(), 16, strategy)))
    ids, here = batch.document_ids, batch.document_ids >= 0
    follows = torch.zeros_like(here)
    follows[:, :-1] = here[:, :-1] & (ids[:, 1:] == ids[:, :-1])
    assert torch.equal(batch.scored, follows)  # every token but a document's last, and no other position
    assert torch.equal(batch.targets[:, :-1][follows[:, :-1]], batch.input_ids[:, 1:][follows[:, :-1]])


@pytest.mark.parametrize("make", [prefixed, lambda: [CausalLM().example(tokens) for tokens in documents()]])
def test_transformers_computes_the_same_loss_from_its_labels(make):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, attn_implementation="eager",
    )  # fmt: skip
    model = LlamaForCausalLM(config).double().eval()
    examples = make()
    for rows in (list(pack(examples, 16)), pad(examples), pad(examples, side="left")):
        batch = collate(rows)
        arguments = batch.to_hf(torch.float64)
        theirs = model(**arguments, use_cache=False)
        del arguments["labels"]
        logits = model(**arguments, use_cache=False).logits
        ours = mw.masked_cross_entropy(logits, batch.targets, batch.weights)
        assert ours.n_targets == int(batch.scored.sum())
        # transformers takes its cross-entropy in float32, whatever the model's dtype.
        torch.testing.assert_close(theirs.loss.double(), ours.loss.double(), rtol=1e-6, atol=0)
        # And the mask is heard: each document alone gives the same.
        alone = torch.zeros((), dtype=torch.float64)
        for example in examples:
            single = collate(pad([example])).to_hf(torch.float64)
            if bool((single["labels"] != IGNORED).any()):
                n = int((single["labels"] != IGNORED).sum())
                alone += model(**single, use_cache=False).loss.double() * n
        torch.testing.assert_close(alone / ours.n_targets, ours.loss.double(), rtol=1e-6, atol=0)
