"""The model leaks nothing by even one bit, and packs as it runs alone."""

import shutil

import pytest
import torch

import maskwork as mw
from helpers import small_models
from maskwork.errors import ArgumentError
from maskwork.models import ModelConfig, Transformer

SMALL = ModelConfig(vocab_size=53, layers=3, width=32, heads=4, kv_heads=2, hidden=48, context=64)


def make(config: ModelConfig = SMALL) -> Transformer:
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model.eval()


IDS = torch.randint(0, 53, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("threads", [1, 2])
def test_changing_any_future_token_changes_no_earlier_logit_by_one_bit(threads: int):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = make()
        with torch.no_grad():
            base = model(IDS)
            for k in range(1, IDS.shape[1]):
                changed = IDS.clone()
                changed[:, k] = (changed[:, k] + 7) % 53
                out = model(changed)
                assert torch.equal(out[:, :k], base[:, :k])
                assert not torch.equal(out[:, k], base[:, k]), "the change itself must show, or this proves nothing"
    finally:
        torch.set_num_threads(before)


def test_changing_any_token_of_another_document_changes_no_logit_by_one_bit():
    model = make()
    lengths = [[7, 13, 20], [19, 1, 20]]
    mask = mw.within(mw.causal(), lengths)
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
    document = torch.stack([torch.repeat_interleave(torch.arange(3), torch.tensor(row)) for row in lengths])
    with torch.no_grad():
        base = model(IDS, mask=mask, position_ids=positions)
        for k in range(IDS.shape[1]):
            changed = IDS.clone()
            changed[:, k] = (changed[:, k] + 7) % 53
            out = model(changed, mask=mask, position_ids=positions)
            for b in range(2):
                others = document[b] != document[b, k]
                assert torch.equal(out[b, others], base[b, others])
                assert not torch.equal(out[b, k], base[b, k])


def test_a_packed_document_comes_out_as_alone():
    model = make()
    lengths = [9, 20, 11]
    positions = torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0)
    with torch.no_grad():
        packed = model(IDS[:1], mask=mw.within(mw.causal(), lengths), position_ids=positions)
        start = 0
        for n in lengths:
            alone = model(IDS[:1, start : start + n])
            torch.testing.assert_close(packed[:, start : start + n], alone, rtol=1e-4, atol=1e-4)
            start += n


def test_every_parameter_learns():
    model = make()
    model(IDS).logsumexp(-1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # raised by the compiler's own imports
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler (g++)")
def test_a_compiled_model_agrees():
    model = make()
    compiled = torch.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(IDS), model(IDS), rtol=1e-4, atol=1e-4)
        mask = mw.within(mw.causal(), [[20, 20], [5, 35]])
        torch.testing.assert_close(compiled(IDS, mask=mask), model(IDS, mask=mask), rtol=1e-4, atol=1e-4)


def test_bad_tokens_and_positions_are_named():
    model = make()
    with pytest.raises(ArgumentError, match=r"tokens must be in \[0, 53\), got 0 to 53"):
        model(torch.tensor([[0, 53]]))
    with pytest.raises(ArgumentError, match="tokens must be in"):
        model(torch.tensor([[-1, 3]]))
    for positions in (torch.tensor([0, 1]), torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 2)):
        with pytest.raises(ArgumentError, match="position_ids must be int64"):
            model(IDS[:, :2], position_ids=positions)
    for positions in ([[0, 64]], [[-1, 0]]):
        with pytest.raises(ArgumentError, match=r"position_ids must be in \[0, 64\)"):
            model(IDS[:, :2], position_ids=torch.tensor(positions))


def test_the_models_own_mask_may_speak_of_more_tokens_than_given_but_an_argument_must_fit():
    mask = mw.causal() & mw.document([3, 61])
    model = Transformer(ModelConfig.from_dict(SMALL.to_dict() | {"mask": "causal & document([3, 61])"}))
    assert model(IDS).shape == (2, 40, 53)
    with pytest.raises(mw.errors.GridError):
        model(IDS, mask=mask)


@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16])
def test_a_cache_under_autocast(cache_dtype: torch.dtype):
    """Keys come out of the cache in its dtype and queries out of a product in autocast's: attention casts them."""
    model = small_models.transformer()
    ids = torch.tensor([small_models.IDS])
    cache = model.new_cache(capacity=len(small_models.IDS))
    cache._k, cache._v = cache._k.to(cache_dtype), cache._v.to(cache_dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole = model(ids)
        steps = [model(ids[:, part], cache=cache) for part in (slice(0, 5), slice(5, 6), slice(6, None))]
    torch.testing.assert_close(torch.cat(steps, 1).float(), whole.float(), atol=0.05, rtol=0.05)
