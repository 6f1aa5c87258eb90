"""The audit: clean models pass, every planted fault is caught and named, and what cannot be checked says so."""

import numpy as np
import pytest
import torch
from torch import nn

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.models import ModelConfig, Transformer
from maskwork.proof import CHECKS, FAULTS, Cause, plant
from maskwork.proof.zoo import Specimen, seeded, tokens


def make(mask: str = "causal", layers: int = 2) -> Transformer:
    config = ModelConfig(vocab_size=61, layers=layers, width=32, heads=4, kv_heads=2, hidden=48, context=64, mask=mask)
    model = Transformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model


IDS = torch.randint(0, 61, (48,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "mask", ["causal", "causal & sliding_window(5)", "causal & (sliding_window(4) | sinks(2))", "full"]
)
def test_an_honest_model_is_clean(mask: str):
    model = make(mask)
    report = mw.audit(model, IDS, mw.parse(mask), checks=("mask", "packing"))
    assert report.ok, str(report)
    assert dict(report.checks) == {"mask": "clean", "packing": "clean"}


def test_an_honest_decoder_passes_every_check():
    report = mw.audit(make(), IDS)
    assert report.ok, str(report)
    assert set(report.checks.values()) == {"clean"}
    assert "1128 forbidden pairs" in report.evidence["mask"]


@pytest.mark.parametrize("cause", list(FAULTS))
def test_every_planted_fault_is_caught_and_named(cause: Cause):
    report = mw.audit(plant(cause, make()), IDS)
    assert not report.ok
    assert cause in [finding.cause for finding in report.findings], str(report)


def test_a_wider_window_than_expected_is_a_leak_and_through_layers_it_is_not():
    window = mw.causal() & mw.sliding_window(4)
    model = make("causal & sliding_window(5)")
    assert not mw.audit(model, IDS, window, checks=["mask"]).ok
    honest = make("causal & sliding_window(4)")
    assert mw.audit(honest, IDS, window, checks=["mask"]).ok
    # two layers of 4 reach 7 back: judged as one layer, that looks like a leak
    assert not mw.audit(honest, IDS, window, checks=["mask"], layers=1).ok


@pytest.mark.parametrize("sizes", [[2, 6, 3, 3], [6, 2, 3, 3]])
def test_where_heads_differ_any_of_them_may_see(sizes: list[int]):
    """The order of the heads changes nothing: no head's part is taken for the whole."""
    mask = mw.causal() & mw.sliding_window(sizes)
    model = make()
    model.mask = mask
    report = mw.audit(model, IDS, mask)
    assert report.ok, str(report)
    assert set(report.checks.values()) == {"clean"}
    narrower = mw.causal() & mw.sliding_window([min(size, 5) for size in sizes])
    report = mw.audit(model, IDS, narrower, checks=("mask", "packing"))
    assert report.checks["mask"] == "leak"
    # each layer is judged one step: one key a row too many, where there are as many
    assert (report.findings[0].module, report.findings[0].pairs) == ("blocks.0.attention", 48 - 5)
    assert report.findings[0].cause == Cause.WINDOW_OFF_BY_ONE


class Recurrent(nn.Module):
    """Somebody else's model: a tuple comes back, and nothing takes a mask."""

    def __init__(self, both_ways: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(61, 8)
        self.rnn = nn.GRU(8, 8, batch_first=True, bidirectional=both_ways)
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.dropout(self.rnn(self.embed(ids))[0]), None


def test_any_module_can_be_audited():
    report = mw.audit(Recurrent(both_ways=False), IDS)
    assert report.ok
    assert report.checks["packing"].startswith("cannot run: the model takes no position_ids")
    assert report.checks["cache"].startswith("cannot run")
    leaky = mw.audit(Recurrent(both_ways=True), IDS, checks=["mask"])
    assert (leaky.findings[0].cause, leaky.findings[0].module) == (Cause.MIXES_OUTSIDE_ATTENTION, "rnn")
    mw.testing.assert_honours(Recurrent(both_ways=False), IDS, mw.causal())
    with pytest.raises(AssertionError, match="leak"):  # a recurrent layer sees all of the past in one step
        mw.testing.assert_honours(Recurrent(both_ways=False), IDS, mw.sliding_window(2))
    with pytest.raises(AssertionError, match="NOT ok"):
        mw.testing.assert_honours(Recurrent(both_ways=True), IDS, mw.causal())


def test_randomness_and_a_model_that_mixes_nothing_are_not_called_clean():
    generator = torch.Generator().manual_seed(0)  # its own: torch's is seeded before every call
    random = mw.audit(lambda ids: torch.randn(*ids.shape, 2, generator=generator), IDS, checks=["mask"])
    assert not random.ok
    assert "two equal calls" in random.checks["mask"]
    alone = mw.audit(lambda ids: ids.float().unsqueeze(-1), IDS, checks=["mask"])
    assert not alone.ok
    assert alone.checks["mask"].startswith("warning")


def test_a_tiny_leak_is_a_leak():
    def leaky(ids: torch.Tensor) -> torch.Tensor:
        x = ids.double()
        return (x.cumsum(1) + 1e-9 * x.roll(-1, 1)).unsqueeze(-1)

    report = mw.audit(leaky, IDS, checks=["mask"])
    assert report.findings[0].pairs >= 47
    assert report.findings[0].effect < 1e-6


def test_bad_arguments():
    model = make()
    with pytest.raises(ArgumentError, match="4 to 512"):
        mw.audit(model, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ArgumentError, match="two different"):
        mw.audit(model, torch.zeros(8, dtype=torch.long))
    with pytest.raises(ArgumentError, match="checks are"):
        mw.audit(model, IDS, checks=["masks"])
    with pytest.raises(ArgumentError, match="one output per position"):
        mw.audit(lambda ids: ids.float().mean(1), IDS, checks=["mask"])
    with pytest.raises(ArgumentError, match="faults are"):
        plant("gremlins", model)


def test_off_by_one_is_not_blamed_on_packing():
    report = mw.audit(plant("off_by_one", make()), IDS, checks=["mask", "packing"])
    assert [finding.cause for finding in report.findings] == [Cause.OFF_BY_ONE, Cause.OFF_BY_ONE]
    joined = mw.audit(plant("documents_joined", make()), IDS, checks=["packing"])
    assert [finding.cause for finding in joined.findings] == [Cause.DOCUMENTS_JOINED]


@pytest.mark.parametrize("mask", [mw.full(), mw.causal() | mw.prefix(3)])
def test_a_mask_that_shows_later_keys_cannot_be_cached(mask: mw.Mask):
    report = mw.audit(make(repr(mask)), IDS, mask)
    assert report.ok, str(report)
    assert report.checks["cache"] == "cannot run: a mask that shows later keys cannot be cached"


@pytest.mark.parametrize("mask", [mw.within(mw.causal(), [24, 24]), mw.causal() & mw.document([24, 24])])
def test_a_mask_of_the_whole_sequence_alone_cannot_be_packed(mask: mw.Mask):
    honest = make()
    honest.mask = mask
    report = mw.audit(honest, IDS, mask, checks=["mask", "packing"])
    assert report.ok, str(report)
    assert report.checks["packing"].startswith("cannot run: the expected mask fits only the whole sequence")


def test_the_evidence_says_what_was_tried():
    def running_sum(ids: torch.Tensor) -> torch.Tensor:
        return ids.cumsum(1)

    report = mw.audit(running_sum, IDS, checks=["mask"])
    assert "1128 forbidden pairs in 47 sets of inputs changed together, 3 substitutions" in report.evidence["mask"]
    report = mw.audit(make(), IDS, checks=["mask"])
    assert "2 modules that mix positions judged one step, bit by bit and by gradients" in report.evidence["mask"]


def test_a_leak_that_fires_for_tokens_outside_the_sequence_is_found_by_the_vocabulary():
    class Rare(Transformer):
        def forward(self, input_ids: torch.Tensor, **options: object) -> torch.Tensor:  # type: ignore[override]
            out = super().forward(input_ids, **options)  # type: ignore[arg-type]
            return out + (input_ids >= 8).any(1)[:, None, None]

    model = Rare(make().config)
    assert not mw.audit(model, IDS % 8, checks=["mask"]).ok


@pytest.mark.parametrize("length", [4, 5, 6, 7])
def test_a_short_sequence_accuses_nobody(length: int):
    report = mw.audit(seeded(Specimen, 0), tokens(length, 0), checks=CHECKS)
    assert set(report.checks.values()) == {"clean"}, str(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_ids": "hello"}, "one sequence of int64 tokens, got str"),
        ({"input_ids": None}, "got NoneType"),
        ({"input_ids": [[1, 2], [3]]}, "got list"),
        ({"model": "gpt2"}, "the model must be a module or a function, got str"),
        ({"call": 3}, "call= must be a module or a function, got int"),
        ({"checks": "mask"}, "checks are a list of some of"),
        ({"checks": []}, "name at least one"),
        ({"expect": mw.causal().bind(8)}, "got BoundMask"),
        ({"expect": torch.ones(8, 8)}, "got Tensor"),
    ],
)
def test_bad_input_is_an_argument_error(change: dict, words: str):
    good = {"model": lambda ids: ids.cumsum(1), "input_ids": np.arange(8)}
    with pytest.raises(ArgumentError, match=words):
        mw.audit(**(good | change))


def test_embeddings_go_in():
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    assert mw.audit(lambda e: e.cumsum(1), x, checks=["mask", "batch"]).ok
    assert mw.audit(lambda e: e.flip(1).cumsum(1).flip(1), x, checks=["mask"]).findings
