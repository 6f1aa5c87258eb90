"""The audit is tested itself: every planted fault is caught and named, and no honest model is accused."""

import functools

import pytest

import maskwork as mw
from maskwork.proof.zoo import (
    LENGTH,
    Honest,
    Mutant,
    Specimen,
    honest_models,
    hugging_face_models,
    mutants,
    seeded,
    tokens,
)

MUTANTS = mutants()
HONEST = [*honest_models(), *hugging_face_models()]
SLOW = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5)]


def judge(mutant: Mutant, seed: int) -> tuple[bool, bool, str]:
    """Whether the fault was caught, whether its cause and module were named, and what was said."""
    report = mw.audit(mutant.build(seed), tokens(LENGTH, seed), mutant.expect, checks=[mutant.check])
    found = report.findings[0] if report.findings else None
    caught = found is not None and report.checks[mutant.check] == "leak" and not report.ok
    named = found is not None and (found.cause, found.module) == (mutant.cause, mutant.module)
    return caught, named, f"{mutant.name}: {report}"


@pytest.mark.parametrize("seed", [0, *SLOW])
def test_the_mutation_score(seed: int, say):
    verdicts = [judge(mutant, seed) for mutant in MUTANTS]
    caught, named = sum(v[0] for v in verdicts), sum(v[1] for v in verdicts)
    say(f"planted faults, seed {seed}: {caught} of {len(MUTANTS)} detected, {named} with the right module and cause")
    assert len(MUTANTS) >= 30
    assert caught == len(MUTANTS), "\n".join(v[2] for v in verdicts if not v[0])
    assert named >= 0.9 * len(MUTANTS), "\n".join(v[2] for v in verdicts if not v[1])


@pytest.mark.parametrize("seed", [0, *SLOW])
def test_no_honest_model_is_accused(seed: int, say):
    accused: list[str] = []
    judged = 0
    for honest in HONEST:
        report = audit_of(honest, seed)
        assert list(report.checks) == list(honest.checks)
        judged += len(honest.checks)
        accused += [f"{honest.name}: {report}"] if set(report.checks.values()) != {"clean"} else []
    say(f"honest models, seed {seed}: {len(accused)} of {len(HONEST)} accused, in {judged} checks")
    assert not accused, "\n".join(accused)


def audit_of(honest: Honest, seed: int):
    return mw.audit(honest.build(seed), tokens(LENGTH, seed), honest.expect, checks=honest.checks)  # type: ignore[arg-type]


def test_every_cause_is_planted():
    assert {mutant.cause for mutant in MUTANTS} == set(mw.Cause)
    assert {mutant.check for mutant in MUTANTS} == {"mask", "padding", "packing", "cache", "batch", "determinism"}
    assert len([honest for honest in HONEST if "mask" in honest.checks]) >= 15


@functools.cache
def checks_without_fault(check: str, expect: str) -> dict[str, str]:
    """Audit the specimen of one check and expected mask: many mutants are this model with a fault."""
    mask = next(m.expect for m in MUTANTS if m.check == check and repr(m.expect) == expect)
    return dict(mw.audit(seeded(lambda: Specimen(mask), 0), tokens(LENGTH, 0), mask, checks=[check]).checks)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.check != "mask"], ids=lambda m: m.name)
def test_without_the_fault_the_same_check_is_clean(mutant: Mutant):
    """The check is not what fails: the specimen without its twist passes it."""
    assert checks_without_fault(mutant.check, repr(mutant.expect)) == {mutant.check: "clean"}
