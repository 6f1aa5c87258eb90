"""`Curriculum` and `DifficultyHistory` against sorting by hand."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwork.errors import ArgumentError
from maskwork.objectives import IGNORED, CausalLM, Curriculum, DifficultyHistory, Reason, collate, pad

DIFFICULTY = st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0, math.inf])


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 50), st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_the_share_grows_from_start_to_end(a, b, steps, power):
    start, end = min(a, b), max(a, b)
    curriculum = Curriculum(start=start, end=end, steps=steps, power=power)
    shares = [curriculum.share(step) for step in range(steps + 5)]
    assert shares[0] == pytest.approx(start)
    assert shares[steps:] == [end] * 5
    # Up to round-off of the root.
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(shares))


def test_the_share_by_hand():
    assert [Curriculum(start=0.1, steps=4).share(s) for s in range(6)] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1, 1])
    # The square-root competence of Platanios et al.: sqrt(t (1 - c0²) / T + c0²).
    root = Curriculum(start=0.1, steps=100, power=2.0)
    assert root.share(30) == pytest.approx(math.sqrt(30 * (1 - 0.01) / 100 + 0.01))


@st.composite
def steps_of_batches(draw):
    """Batches of padded documents, and a difficulty for every position of them."""
    batches, scores = [], []
    for _ in range(draw(st.integers(1, 3))):
        lengths = draw(st.lists(st.integers(2, 5), min_size=1, max_size=3))
        side = draw(st.sampled_from(["right", "left"]))
        batch = collate(pad([CausalLM().example(list(range(n))) for n in lengths], side=side))
        numbers = draw(st.lists(DIFFICULTY, min_size=batch.targets.numel(), max_size=batch.targets.numel()))
        # What isn't scored has no difficulty.
        scores.append(torch.tensor(numbers).view(batch.targets.shape).masked_fill(~batch.scored, math.nan))
        batches.append(batch)
    return batches, scores


@given(steps_of_batches(), st.sampled_from([0.01, 0.25, 0.5, 0.9, 1.0]))
def test_the_easiest_equal_sorting_by_hand(drawn, share):
    batches, scores = drawn
    places = [
        (scores[i][tuple(at)].item(), order, i, tuple(at))
        for order, (i, at) in enumerate((i, at) for i, b in enumerate(batches) for at in b.scored.nonzero().tolist())
    ]
    count = max(1, math.ceil(share * len(places) - 1e-9))
    expected = {(i, at) for _, _, i, at in sorted(places)[:count]}
    left = Curriculum(start=share, end=share, steps=1).easiest(batches, scores, 0)
    for i, (before, after) in enumerate(zip(batches, left, strict=True)):
        assert {(i, tuple(at)) for at in after.scored.nonzero().tolist()} == {key for key in expected if key[0] == i}
        gone = before.scored & ~after.scored
        assert (after.reasons[gone] == Reason.CURRICULUM).all()
        assert after.reasons[~gone].equal(before.reasons[~gone])
        assert (after.targets[gone] == IGNORED).all()
        assert after.targets[after.scored].equal(before.targets[after.scored])


def test_round_off_adds_no_token():
    batch = CausalLM()([list(range(101))])
    (left,) = Curriculum(start=0.07, end=0.07, steps=1).easiest([batch], [torch.arange(101.0)[None]], 0)
    assert 0.07 * 100 > 7
    assert left.n_targets == 7


def test_a_step_without_targets_stays_empty():
    batch = CausalLM()([[5]])
    (left,) = Curriculum(start=0.5, steps=2).easiest([batch], [torch.zeros(1, 1)], 0)
    assert left.n_targets == 0


@given(st.lists(st.floats(0, 2000, width=32), min_size=1, max_size=60), st.floats(0.01, 0.999), st.integers(0, 3))
def test_the_quantile_is_within_a_bin_of_sorting(values, share, cuts):
    history = DifficultyHistory()
    for part in torch.tensor(values).tensor_split(cuts + 1):
        history = history.add(part, memory=1.0)
    exact = sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]
    found = history.quantile(share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    if 1e-4 <= exact < 990:
        assert exact <= found * (1 + 1e-6) <= exact * 1.033
    elif exact > 1000:
        assert found == math.inf


def test_a_history_forgets():
    history = DifficultyHistory().add(torch.full((1000,), 5.0)).add(torch.full((10,), 0.1), memory=0.001)
    assert history.quantile(0.9) == pytest.approx(0.1, rel=0.04)
    assert DifficultyHistory().quantile(0.5) == math.inf


def test_within_reach_of_what_was_measured():
    batch = CausalLM()([[1, 2, 3, 4, 5, 6]])
    losses = torch.tensor([[0.5, 3.0, 1.0, 2.0, 4.0, math.nan]])
    curriculum = Curriculum(start=0.5, steps=10)
    history = DifficultyHistory().add(torch.tensor([1.0, 1.5, 3.0, 9.0]))
    assert curriculum.within_reach(batch, losses, history, 0).scored[0].tolist() == [True, False, True] + [False] * 3
    assert curriculum.within_reach(batch, losses, DifficultyHistory(), 0).n_targets == 5
    assert curriculum.within_reach(batch, losses, history, 10).n_targets == 5
    assert curriculum.within_reach(batch, losses + 100, history, 0).n_targets == 0


def test_refuses():
    for start, end in [(0.0, 1.0), (0.5, 0.4), (0.5, 1.1), (math.nan, 1.0)]:
        with pytest.raises(ArgumentError, match=r"0 < start <= end <= 1|start must be finite, got nan"):
            Curriculum(start=start, end=end, steps=1)
    with pytest.raises(ArgumentError, match="steps=0"):
        Curriculum(start=0.5, steps=0)
    with pytest.raises(ArgumentError, match="got 0"):
        Curriculum(start=0.5, steps=1, power=0)
    with pytest.raises(ArgumentError, match="got 1"):
        Curriculum(start=0.5, steps=1, memory=1)
    curriculum, batch = Curriculum(start=0.5, steps=1), CausalLM()([[5, 6]])
    with pytest.raises(ArgumentError, match="step must be at least 0, got -1"):
        curriculum.share(-1)
    with pytest.raises(ArgumentError, match="each of 1 batches"):
        curriculum.easiest([batch], [], 0)
    with pytest.raises(ArgumentError, match=r"\(1, 2\), got \(2,\)"):
        curriculum.easiest([batch], [torch.zeros(2)], 0)
    with pytest.raises(ArgumentError, match="got NaN"):
        curriculum.within_reach(batch, torch.full((1, 2), math.nan), DifficultyHistory(), 0)
    with pytest.raises(ArgumentError, match=r"float64 \(512,\)"):
        DifficultyHistory(torch.zeros(3))


def test_a_rank_without_a_batch_has_nothing_easy():
    assert Curriculum(start=0.5, steps=2).easiest([], [], 0) == []
