"""The model under audit: its vocabulary, the tokens put in its input's place, and what it does to its input."""

import pytest
import torch
from torch import nn

import maskwork as mw
from helpers.wrapped_specimen import WrappedSpecimen
from maskwork.proof._probes.subject import Subject
from maskwork.proof.zoo import VOCABULARY, Specimen, seeded, tokens

IDS = tokens(24, 0)


def audit(model, *checks, ids=IDS):
    return mw.audit(model, ids, checks=checks)


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

    ids = tokens(40, 0)  # two of the substitutions deal out 61 tokens
    assert audit(WrappedSpecimen(announced), "mask", ids=ids[ids != token]).leaks


def test_a_model_that_writes_into_its_input():
    def erase(model, ids, run):
        out = run(ids)
        ids.zero_()
        return out

    assert audit(WrappedSpecimen(erase), "mask", "batch", "determinism").ok
