"""The assertions for other test suites: a leak fails the test, and so does a check that cannot run."""

import pytest
import torch

import maskwork as mw
from maskwork.proof.zoo import Specimen, mutants, seeded, tokens

ASSERTIONS = {
    "cache": mw.testing.assert_cache_exact,
    "padding": mw.testing.assert_padding_invariant,
    "packing": mw.testing.assert_packing_isolated,
}


@pytest.mark.parametrize("check", ASSERTIONS)
def test_an_assertion_passes_the_honest_and_fails_the_faulty(check: str):
    ASSERTIONS[check](seeded(Specimen, 0), tokens(24, 0))
    mutant = next(m for m in mutants() if m.check == check)
    with pytest.raises(AssertionError, match=f"{check}: leak"):
        ASSERTIONS[check](mutant.build(), tokens(24, 0), mutant.expect)


@pytest.mark.parametrize("check", ASSERTIONS)
def test_what_cannot_run_is_no_pass(check: str):
    with pytest.raises(AssertionError, match="cannot run"):
        ASSERTIONS[check](lambda ids: ids.cumsum(1), torch.arange(16))
