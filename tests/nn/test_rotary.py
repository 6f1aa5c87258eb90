"""Rotary positions: what they are for, their scalings against transformers, and numerics that checkpoints rely on."""

import math

import pytest
import torch

from maskwork.errors import ArgumentError
from maskwork.nn import LinearScaling, NTKScaling, Rotary, YaRNScaling, frequencies, rotary_table, rotate

SCALINGS = [
    None,
    LinearScaling(4.0),
    NTKScaling(4.0),
    YaRNScaling(4.0, 2048),
    YaRNScaling(16.0, 4096, beta_fast=16.0, beta_slow=2.0, attention_factor=1.5),
]


def turned(x: torch.Tensor, positions: list[int], scaling: object = None) -> torch.Tensor:
    cos, sin = Rotary(x.shape[-1], 400, scaling=scaling)(torch.tensor([positions]))
    return rotate(x, cos, sin)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("head_dim", [4, 6, 64])
def test_scores_depend_on_the_distance_alone(head_dim: int, scaling: object):
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, head_dim, generator=g, dtype=torch.float64) for _ in range(2))
    near = turned(q, [7], scaling) @ turned(k, [3], scaling).mT
    far = turned(q, [307], scaling) @ turned(k, [303], scaling).mT
    # cosines and sines are float32: head_dim products of size about 1, each off by about 2**-24
    torch.testing.assert_close(near, far, rtol=0, atol=head_dim * 2**-20)
    assert not torch.allclose(near, turned(q, [8], scaling) @ turned(k, [3], scaling).mT, atol=1e-3)


def test_the_table_is_the_definition():
    cos, sin = rotary_table(6, 50, theta=100.0)
    for position in (0, 1, 49):
        for i in range(6):
            angle = position * 100.0 ** (-2 * (i % 3) / 6)
            assert abs(cos[position, i].item() - math.cos(angle)) < 1e-7
            assert abs(sin[position, i].item() - math.sin(angle)) < 1e-7


def test_the_first_half_is_paired_with_the_second():
    x = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    out = turned(x, [1])
    torch.testing.assert_close(out, torch.tensor([[[[math.cos(1.0), 0.0, math.sin(1.0), 0.0]]]]))
    assert turned(x.bfloat16(), [1]).dtype == torch.bfloat16


def test_a_factor_of_one_changes_nothing():
    for scaling in (LinearScaling(1.0), NTKScaling(1.0), YaRNScaling(1.0, 2048)):
        torch.testing.assert_close(frequencies(64, scaling=scaling), frequencies(64), rtol=1e-15, atol=0)
        assert torch.equal(rotary_table(64, 9, scaling=scaling)[0], rotary_table(64, 9)[0])


def test_what_each_scaling_does_to_the_fastest_and_the_slowest():
    plain = frequencies(64)
    linear, ntk = frequencies(64, scaling=LinearScaling(8.0)), frequencies(64, scaling=NTKScaling(8.0))
    yarn = frequencies(64, scaling=YaRNScaling(8.0, 2048))
    torch.testing.assert_close(linear, plain / 8.0)
    for scaled in (ntk, yarn):
        torch.testing.assert_close(scaled[0], plain[0])
        torch.testing.assert_close(scaled[-1], plain[-1] / 8.0)
    turns = 2048 * plain / (2 * math.pi)
    torch.testing.assert_close(yarn[turns > 40], plain[turns > 40])
    torch.testing.assert_close(yarn[turns < 0.5], plain[turns < 0.5] / 8.0)


def hugging_face(kind: str, head_dim: int, theta: float, seq_len: int | None = None, **parameters: object):
    utils = pytest.importorskip("transformers.modeling_rope_utils", reason="transformers is not installed")
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=8 * head_dim,
        num_attention_heads=8,
        max_position_embeddings=parameters.pop("max_position_embeddings", 8192),
        rope_parameters={"rope_type": kind, "rope_theta": theta, **parameters},
    )
    return utils.ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=seq_len)


def size(scaling: object) -> float:
    return rotary_table(8, 1, scaling=scaling)[0][0, 0].item()  # the cosine of angle 0


@pytest.mark.parametrize("head_dim", [8, 64, 128])
@pytest.mark.parametrize("theta", [10000.0, 500000.0])
def test_linear_is_that_of_transformers(head_dim: int, theta: float):
    wanted, factor = hugging_face("linear", head_dim, theta, factor=4.0)
    # theirs is float32, with an exponent rounded before it is raised: a few units in the last place
    torch.testing.assert_close(frequencies(head_dim, theta, LinearScaling(4.0)).float(), wanted, rtol=1e-5, atol=0)
    assert size(LinearScaling(4.0)) == factor


@pytest.mark.parametrize("head_dim", [8, 64, 128])
@pytest.mark.parametrize(("factor", "length"), [(1.0, 16384), (2.0, 16384), (4.0, 10000)])
def test_ntk_is_the_dynamic_one_of_transformers_at_one_length(head_dim: int, factor: float, length: int):
    wanted, _ = hugging_face("dynamic", head_dim, 10000.0, seq_len=length, factor=factor, max_position_embeddings=4096)
    scaling = NTKScaling(factor * length / 4096 - (factor - 1))
    torch.testing.assert_close(frequencies(head_dim, scaling=scaling).float(), wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("head_dim", [8, 64, 128])
@pytest.mark.parametrize("theta", [10000.0, 1000000.0])
@pytest.mark.parametrize("scaling", [s for s in SCALINGS if isinstance(s, YaRNScaling)] + [YaRNScaling(2.0, 16)])
def test_yarn_is_that_of_transformers(head_dim: int, theta: float, scaling: YaRNScaling):
    wanted, factor = hugging_face(
        "yarn",
        head_dim,
        theta,
        factor=scaling.factor,
        original_max_position_embeddings=scaling.original_context,
        max_position_embeddings=int(scaling.original_context * scaling.factor),
        beta_fast=scaling.beta_fast,
        beta_slow=scaling.beta_slow,
        attention_factor=scaling.attention_factor,
    )
    torch.testing.assert_close(frequencies(head_dim, theta, scaling).float(), wanted, rtol=1e-5, atol=0)
    assert size(scaling) == pytest.approx(factor, rel=1e-6)


def test_mistakes_say_rule_finding_and_mend():
    with pytest.raises(ArgumentError, match="head_dim must be even, got 5"):
        Rotary(5, 16)
    with pytest.raises(ArgumentError, match="at least 4, got 2; use LinearScaling"):
        Rotary(2, 16, scaling=NTKScaling(2.0))
    for factor in (0.5, math.inf, math.nan):
        for make in (LinearScaling, NTKScaling, lambda f: YaRNScaling(f, 2048)):
            with pytest.raises(ArgumentError, match="factor must be finite and at least 1"):
                make(factor)
    with pytest.raises(ArgumentError, match="beta_slow <= beta_fast"):
        YaRNScaling(2.0, 2048, beta_fast=1.0, beta_slow=2.0)


@pytest.mark.parametrize("positions", [[[-1]], [[0, 3, -2]], [[0], [-7]]])
def test_a_position_below_0_is_refused(positions: list):
    with pytest.raises(ArgumentError, match=f"at least 0, got {min(min(row) for row in positions)}"):
        Rotary(4, 8)(torch.tensor(positions))


@pytest.mark.parametrize(("context", "positions"), [(8, [[8]]), (8, [[0, 7, 20]]), (1, [[1]])])
def test_a_position_beyond_the_table_is_refused(context: int, positions: list):
    high = max(map(max, positions))
    with pytest.raises(
        ArgumentError, match=f"context of {context}, got {high}; make the table with context={high + 1}"
    ):
        Rotary(4, context)(torch.tensor(positions))


def test_positions_that_cannot_be_read_are_left_to_torch():
    """Transforms, fake tensors and graphs look up what eager mode does."""
    rotary, positions = Rotary(4, 8), torch.tensor([[0, 3], [7, 1]])
    expected = rotary(positions)[0]
    assert torch.equal(torch.func.vmap(lambda ids: rotary(ids[None])[0][0])(positions), expected)
    program = torch.export.export(rotary, (positions,))
    assert torch.equal(program.module()(positions)[0], expected)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert rotary(torch.zeros(2, 2, dtype=torch.int64))[0].shape == expected.shape
