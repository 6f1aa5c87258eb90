"""Sentinels stand for spans alone."""

import pytest

from maskwork.errors import ArgumentError
from maskwork.objectives import UL2, Denoiser, SpanCorruption


def test_a_sentinel_is_no_end_and_no_mode():
    with pytest.raises(ArgumentError, match="got 8"):
        SpanCorruption([9, 8, 7], decoder_start=0, end_token=8)
    for tokens in ({"end_token": 7}, {"end_token": 9, "mode": 50}):
        with pytest.raises(ArgumentError, match="for nothing else"):
            UL2([Denoiser(0.5, mode_token=tokens.pop("mode", 9))], [9, 8, 7], decoder_start=0, **tokens)
