"""The survey of modules: scripted modules take no hooks."""

import pytest
import torch
from torch import nn

import maskwork as mw
from maskwork.proof.zoo import VOCABULARY, tokens

IDS = tokens(24, 0)


def audit(model, *checks, ids=IDS):
    return mw.audit(model, ids, checks=checks)


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
