"""Generation: cached and uncached decoding agree, sampling is seeded, limits hold."""

import numpy as np
import pytest
import torch

import maskwork as mw
from maskwork.decoding import Sampling, generate, sample
from maskwork.errors import ArgumentError, PromptTooLong
from maskwork.models import ModelConfig, Transformer


def make(mask: str = "causal", context: int = 240) -> Transformer:
    config = ModelConfig(vocab_size=97, layers=3, width=48, heads=4, kv_heads=2, hidden=64, context=context, mask=mask)
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():  # larger blocks, so that the tied head does not just repeat its input
        for parameter in model.blocks.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2.5)
    return model.eval()


@pytest.mark.parametrize("mask", ["causal", "causal & (sliding_window(16) | sinks(2))", "causal & sliding_window(5)"])
@pytest.mark.parametrize(("prompt", "max_tokens"), [([1], 200), ([5, 6, 7], 60), (list(range(30)), 60)])
def test_cached_and_uncached_decoding_agree(mask: str, prompt: list[int], max_tokens: int):
    model = make(mask)
    cached = list(generate(model, prompt, max_tokens=max_tokens))
    uncached = list(generate(model, prompt, max_tokens=max_tokens, use_cache=False))
    assert len(cached) == max_tokens
    assert len(set(cached)) > 10, "the model repeats itself so much that agreement shows little"
    assert cached == uncached

    ids = torch.tensor([[*prompt, *cached]])[:, :230]
    with torch.inference_mode():
        whole = model(ids)
        cache = model.new_cache()
        steps = torch.cat([model(ids[:, i : i + 1], cache=cache) for i in range(ids.shape[1])], dim=1)
        cache = model.new_cache()
        chunks = torch.cat([model(part, cache=cache) for part in ids.split(7, dim=1)], dim=1)
    assert (whole - steps).abs().max() < 1e-4
    assert (whole - chunks).abs().max() < 1e-4


def test_stops_at_a_stop_token_at_max_tokens_and_at_the_context():
    model = make(context=20)
    free = list(generate(model, [1, 2, 3], max_tokens=100))
    assert len(free) == 18, "17 positions are left, and the last token needs none"
    assert list(generate(model, [1, 2, 3], max_tokens=4)) == free[:4]
    assert list(generate(model, [1, 2, 3], max_tokens=0)) == []
    first = free.index(free[5])
    assert list(generate(model, [1, 2, 3], max_tokens=100, stop=frozenset({free[5]}))) == free[:first]
    assert list(generate(model, [1] * 20, max_tokens=5)) == list(
        generate(model, [1] * 20, max_tokens=5, use_cache=False)
    )


def test_bad_arguments_raise_at_the_call():
    model = make(context=20)
    with pytest.raises(PromptTooLong, match="context of 20 tokens, got 21"):
        generate(model, [1] * 21, max_tokens=1)
    for prompt in ([], [97], [-1]):
        with pytest.raises(ArgumentError):
            generate(model, prompt, max_tokens=1)
    with pytest.raises(ArgumentError, match="max_tokens"):
        generate(model, [1], max_tokens=-1)
    for bad in (
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"seed": -1},
    ):
        with pytest.raises(ArgumentError):
            Sampling(**bad)


def test_sampling_is_seeded():
    model = make()
    texts = [
        list(generate(model, [1], max_tokens=30, sampling=Sampling(temperature=1.0, seed=seed))) for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    list(generate(model, [1], max_tokens=3, sampling=Sampling(temperature=1.0)))
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is nobody's business here"


def test_top_k_and_top_p_keep_what_they_say():
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log().repeat(4000, 1)
    g = torch.Generator().manual_seed(0)

    def frequencies(**options: float) -> torch.Tensor:
        picks = sample(logits, Sampling(**{"temperature": 1.0, **options}), g)
        return torch.bincount(picks, minlength=4) / 4000

    assert torch.allclose(frequencies(), torch.tensor([0.5, 0.25, 0.15, 0.1]), atol=0.04)
    assert torch.allclose(frequencies(top_k=2), torch.tensor([2 / 3, 1 / 3, 0, 0]), atol=0.04)
    assert torch.allclose(frequencies(top_p=0.7), torch.tensor([2 / 3, 1 / 3, 0, 0]), atol=0.04)
    assert torch.allclose(frequencies(top_p=0.1), torch.tensor([1.0, 0, 0, 0]))
    assert torch.allclose(frequencies(temperature=1e-9), torch.tensor([1.0, 0, 0, 0]))
    # top-k first, then top-p of what is left: 0.5 of 0.75 is 2/3, which is below 0.7
    assert torch.allclose(frequencies(top_k=2, top_p=0.6), torch.tensor([1.0, 0, 0, 0]))


def test_the_cache_refuses_what_it_cannot_hold():
    model = make(context=20)
    cache = model.new_cache(capacity=4)
    with pytest.raises(ArgumentError, match="holds 4 positions"):
        model(torch.zeros(1, 5, dtype=torch.long), cache=cache)
    with pytest.raises(ArgumentError, match="batch of 2"):
        model(torch.zeros(2, 3, dtype=torch.long), cache=model.new_cache())
    with pytest.raises(ArgumentError, match="knows 20 positions"):
        model(torch.zeros(1, 21, dtype=torch.long))
    with pytest.raises(ArgumentError, match="int64"):
        model(torch.zeros(5, dtype=torch.long))


def test_a_mask_argument_takes_the_place_of_the_models_own():
    model = make()
    ids = torch.arange(10).unsqueeze(0)
    assert torch.equal(model(ids), model(ids, mask=mw.causal()))
    assert not torch.equal(model(ids), model(ids, mask=mw.full()))


def test_documents_that_end_later_decode_alike_with_and_without_the_cache():
    model = make("causal & document([3, 29])", context=32)
    cached = list(generate(model, [1, 2], max_tokens=20))
    assert cached == list(generate(model, [1, 2], max_tokens=20, use_cache=False))
    assert len(cached) == 20


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), -float("inf"), float("inf")])
def test_no_token_is_picked_from_logits_that_are_spoilt(temperature: float, bad: float):
    logits = torch.zeros(2, 5)
    logits[1] = bad
    with pytest.raises(ArgumentError, match=f"sampling needs logits .* got {bad}"):
        sample(logits, Sampling(temperature=temperature))
    logits[1] = torch.tensor([-float("inf")] * 4 + [0.0])
    assert sample(logits, Sampling(temperature=temperature))[1] == 4, "forbidden tokens are no damage"


@pytest.mark.parametrize(
    "bad",
    [
        {"top_k": 2.0}, {"top_k": True}, {"seed": 1.0}, {"seed": True}, {"seed": 2**63}, {"temperature": "1"},
        {"temperature": 10**400}, {"top_p": "1"},
    ],
)  # fmt: skip
def test_sampling_takes_numbers_of_the_right_kind(bad: dict[str, object]):
    with pytest.raises(ArgumentError, match=next(iter(bad))):
        Sampling(**bad)  # type: ignore[arg-type]


def test_a_prompt_is_any_sequence_of_integers():
    model = make(context=20)
    wanted = list(generate(model, [1, 2, 3], max_tokens=3))
    for prompt in (torch.tensor([1, 2, 3]), np.array([1, 2, 3]), (1, 2, 3), list(torch.tensor([1, 2, 3])), range(1, 4)):
        assert list(generate(model, prompt, max_tokens=3)) == wanted
    for prompt in (
        torch.tensor([[1, 2]]),
        torch.tensor([1.0]),
        [1.0],
        "abc",
        torch.tensor(1),
        5,
        [True],
        [None],
        None,
        torch.tensor([True]),
    ):
        with pytest.raises(ArgumentError, match="one sequence of integers"):
            generate(model, prompt, max_tokens=3)
    with pytest.raises(ArgumentError, match="at least one token"):
        generate(model, torch.tensor([], dtype=torch.long), max_tokens=3)
