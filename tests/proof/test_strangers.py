"""Models that nobody tidied up for the audit: none is wrongly accused, changed or misread, and their leaks are seen."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.proof import CHECKS
from maskwork.proof._probes.subject import Subject
from maskwork.proof._probes.tolerance import tolerance
from maskwork.proof.zoo import VOCABULARY, Specimen, seeded, tokens

IDS = tokens(24, 0)


def audit(model, *checks, ids=IDS, expect=None):
    return mw.audit(model, ids, expect, checks=checks)


class Wrapped(nn.Module):
    """A specimen whose forward pass `twist(self, ids, run)` has in hand."""

    def __init__(self, twist):
        super().__init__()
        self.inner, self.twist, self.calls = seeded(Specimen, 0), twist, 0

    def forward(self, ids):
        self.calls += 1
        return self.twist(self, ids, lambda x: self.inner(x).logits)


@pytest.mark.parametrize("length", [4, 5, 6, 7])
def test_a_short_sequence_accuses_nobody(length: int):
    report = audit(seeded(Specimen, 0), *CHECKS, ids=tokens(length, 0))
    assert set(report.checks.values()) == {"clean"}, str(report)


def test_outputs_that_do_not_vary_have_rounding_too():
    assert tolerance(torch.ones(1, 4), None) == tolerance(torch.ones(3, 4), None) > 0


class OneHot(nn.Module):
    """Knows as many tokens as its first layer is wide; its only table is one of positions."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Linear(20, 8), nn.Embedding(128, 8)
        self.mix = nn.GRU(8, 8, batch_first=True)

    def forward(self, ids):
        x = self.tokens(nn.functional.one_hot(ids, 20).float())
        return self.mix(x + self.positions(torch.arange(ids.shape[1])))[0]


def test_the_vocabulary_is_that_of_the_table_in_which_ids_are_looked_up():
    assert audit(OneHot(), "mask", "batch", ids=torch.arange(20)).ok
    assert Subject(OneHot(), None, torch.arange(20)).vocab_size is None
    assert Subject(seeded(Specimen, 0), None, IDS).vocab_size == VOCABULARY  # and not of its table of positions


@pytest.mark.parametrize("token", range(0, VOCABULARY, 6))
def test_a_leak_of_one_token_of_the_vocabulary(token: int):
    def announced(model, ids, run):
        ahead = (ids == token).flip(1).cumsum(1).flip(1) > 0
        return run(ids) + ahead.unsqueeze(-1)

    ids = tokens(48, 0)
    assert audit(Wrapped(announced), "mask", ids=ids[ids != token]).leaks


@pytest.mark.parametrize("check", ["mask", "padding", "batch", "determinism"])
def test_nothing_but_nan_is_not_clean(check: str):
    model = seeded(Specimen, 0)
    model.head.bias.data.fill_(torch.nan)
    report = audit(model, check)
    assert report.checks == {check: "warning"}
    assert "NaN at" in report.warnings[check]


def test_a_model_that_writes_into_its_input():
    def erase(model, ids, run):
        out = run(ids)
        ids.zero_()
        return out

    assert audit(Wrapped(erase), "mask", "batch", "determinism").ok


def test_randomness_is_no_leak_between_rows():
    generator = torch.Generator().manual_seed(0)

    def noisy(scale):
        return lambda model, ids, run: run(ids) + scale * torch.rand(*ids.shape, 1, generator=generator)

    assert audit(Wrapped(noisy(1e-6)), "batch").ok
    assert "two equal calls differ" in audit(Wrapped(noisy(1.0)), "batch").checks["batch"]


def test_what_an_earlier_call_left_behind():
    def remembers(model, ids, run):
        out = run(ids)
        before, model.last = getattr(model, "last", out.new_zeros(())), out.mean()
        return out + before

    model = Wrapped(remembers)
    finding = audit(model, "batch").findings[0]
    assert "an earlier call" in finding.evidence
    assert not hasattr(model, "last")


def test_the_first_row_decides_for_all():
    report = audit(Wrapped(lambda model, ids, run: run(ids) * (1 + ids[0, 0] % 2)), "batch")
    assert report.checks["batch"] == "leak"
    assert report.findings[0].module == ""


def test_whatever_a_forward_pass_changes_is_put_back():
    def busy(model, ids, run):
        model.inner.head.weight = nn.Parameter(model.inner.head.weight.detach() * 1.0)
        model.register_buffer("seen", ids)
        model.extra = nn.Linear(2, 2)
        model.kept.append(ids)
        model.inner.head.register_forward_hook(lambda *_: None)
        return run(ids)

    model = Wrapped(busy)
    model.kept = []
    handle = model.inner.head.register_forward_hook(lambda *_: None)
    weight, names, hooks = model.inner.head.weight, list(model.state_dict()), model.inner.head._forward_hooks
    audit(model, "mask", "batch")
    assert model.inner.head.weight is weight
    assert list(model.state_dict()) == names
    assert not model.kept
    assert model.calls == 0
    assert len(hooks) == 1
    assert hooks is model.inner.head._forward_hooks
    handle.remove()
    assert not hooks


class Sealed(dict):
    def update(self, *_):
        raise RuntimeError("not to be changed")


def test_what_cannot_be_put_back_stays():
    model = Wrapped(lambda model, ids, run: run(ids))
    model.answer = Sealed(logits=1)
    assert audit(model, "batch").ok
    assert model.answer == {"logits": 1}


def test_an_interrupt_leaves_the_model_as_it_was():
    def interrupted(model, ids, run):
        if model.calls == 3:
            raise KeyboardInterrupt
        return run(ids)

    model = Wrapped(interrupted).train()
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        audit(model, "mask")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_two_audits_of_one_model_at_the_same_time():
    model, reports = seeded(lambda: Specimen(dropout=0.1), 0).train(), []
    state = torch.get_rng_state()
    threads = [
        threading.Thread(target=lambda: reports.append(audit(model, "mask", "batch", "determinism"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.ok for report in reports] == [True] * 3, [str(report) for report in reports]
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


class Both(nn.Module):
    def __init__(self, both: bool):
        super().__init__()
        self.table, self.mix = nn.Embedding(VOCABULARY, 4), nn.GRU(4, 4, batch_first=True, bidirectional=both)

    def forward(self, ids):
        return self.mix(self.table(ids))[0]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_modules_take_no_hooks():
    assert audit(torch.jit.script(Both(False)), "mask", "batch").ok
    assert audit(nn.Sequential(torch.jit.script(Both(True)), nn.Linear(8, 2)), "mask").leaks


def test_a_mask_for_each_layer_of_a_function():
    def window_of_three(ids):
        past = torch.stack([ids.roll(d, 1) * (torch.arange(len(IDS)) >= d) for d in range(3)])
        return past.sum(0)

    two = mw.sliding_window(2)
    assert audit(window_of_three, "mask", expect=[two, two]).ok
    assert audit(window_of_three, "mask", expect=[two, mw.sliding_window(1)]).leaks


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


@pytest.mark.parametrize("named", [True, False])
def test_rows_that_mix_are_no_leak_between_positions(named: bool):
    class RowMean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0, keepdim=True)

    class Model(torch.nn.Module):
        def __init__(self, leak: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.leak = torch.nn.Embedding(50, 16), leak
            self.mix = RowMean() if named else None
            self.head = torch.nn.Linear(16, 50)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embedding(ids)
            x = x - x.mean(0, keepdim=True) if self.mix is None else self.mix(x)
            x = x.cumsum(1) + (x.roll(-1, 1) if self.leak else 0)
            return self.head(x)

    report = mw.audit(Model(leak=False), torch.arange(1, 25), mw.causal(), checks=["mask", "batch"], layers=1)
    assert dict(report.checks) == {"mask": "clean", "batch": "leak"}, str(report)
    assert "rows of a batch change each other" in str(report)
    report = mw.audit(Model(leak=True), torch.arange(1, 25), mw.causal(), checks=["mask"], layers=1)
    assert report.checks["mask"] == "leak"
