"""The check `mask`: rounding is settled, weak or discrete flow is a leak, missing flow a warning, noise is named."""

import pytest
import torch
from torch import nn

import maskwork as mw
from maskwork.proof.zoo import Specimen, mutants, seeded, tokens

IDS = tokens(24, 0)


def test_flow_that_the_mask_allows_and_no_layer_has_is_a_warning():
    narrow = seeded(lambda: Specimen(mw.sliding_window(4)), 0)
    report = mw.audit(narrow, IDS, mw.sliding_window(6), checks=["mask"])
    assert report.checks["mask"] == "warning", str(report)
    assert "10 to 15 positions back never influence" in report.warnings["mask"]  # 3 layers of 3 against 3 of 5
    assert not report.ok
    assert not report.findings


def test_one_silent_layer_of_many_is_no_warning():
    model = seeded(Specimen, 0)
    nn.init.zeros_(model.blocks[0].attention.out.weight)
    assert mw.audit(model, IDS, checks=["mask"]).ok


class Order(nn.Module):
    """Sums its features in an order that later tokens decide, as the dispatch to experts: only rounding differs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order = x.mean(1).argsort(-1)
        mixed = x.gather(2, order[:, None, :].expand_as(x))
        total = mixed[..., 0]
        for i in range(1, x.shape[-1]):
            total = total + mixed[..., i]
        return total[..., None].expand_as(x)


def test_rounding_is_settled_in_float64():
    model = seeded(lambda: Specimen(extras={1: Order()}), 0)
    report = mw.audit(model, IDS, checks=["mask"])
    assert report.checks["mask"] == "clean", str(report)
    assert "settled in float64 as rounding" in report.evidence["mask"]


def test_routing_is_a_leak_though_its_gradient_is_zero():
    mutant = next(m for m in mutants() if "capacity" in m.name)
    finding = mw.audit(mutant.build(), tokens(48, 0), checks=["mask"]).findings[0]
    assert "the choice is discrete" in finding.evidence


def test_a_weak_flow_that_no_bit_shows_has_a_gradient():
    mutant = next(m for m in mutants() if m.name == "mask of -100")
    finding = mw.audit(mutant.build(), IDS, checks=["mask"]).findings[0]
    assert finding.evidence.startswith("judged alone: 0 forbidden pairs change bits")
    assert 0 < finding.effect < 1e-30


def test_small_noise_is_said_and_let_pass():
    generator = torch.Generator().manual_seed(0)

    def noisy(ids):
        return ids.cumsum(1) + 1e-4 * torch.randn(ids.shape, generator=generator)

    report = mw.audit(noisy, IDS, checks=["mask"])
    assert report.checks["mask"] == "clean", str(report)
    assert "equal calls differ by up to" in report.evidence["mask"]


def test_the_architectures_that_saw_the_future_are_clean_again():
    """transformers 5.9 to 5.17 leaked here; benchmarks/audit_known_leaks.py shows that in an environment of its own."""
    transformers = pytest.importorskip("transformers", minversion="5.18")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    for name in ("RoFormer", "RemBert", "MegatronBert", "BigBird"):
        options = {"attention_type": "original_full"} if name == "BigBird" else {}
        config = getattr(transformers, f"{name}Config")(
            vocab_size=61,
            is_decoder=True,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=2,
            **sizes,
            **options,
        )
        model = seeded(lambda n=name, c=config: getattr(transformers, f"{n}ForCausalLM")(c), 0)
        report = mw.audit(model, tokens(31, 0), checks=["mask"])
        assert report.ok, f"{name}: {report}"
