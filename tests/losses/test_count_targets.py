"""One step is one large batch, however it is cut into accumulation steps and ranks."""

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from helpers.loss_ranks import CASES, ROWS, Part, cut, denominator_of, full_batch, loss_and_gradient, rank_main
from maskwork.losses import count_targets


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("float_weights", [False, True])
@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_accumulation_steps_are_one_batch(reduction, float_weights, linear):
    batch = full_batch(float_weights)
    expected = loss_and_gradient([batch], reduction, linear, None)
    for sizes in ([4, 4], [1, 1, 1, 5], [1] * ROWS):
        parts = cut(batch, sizes)
        counts = count_targets(parts)
        got = loss_and_gradient(parts, reduction, linear, denominator_of(counts, reduction))
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)
        # The fault that this is for: a mean of the parts' own means is another number.
        means = loss_and_gradient(parts, reduction, linear, None)[0] / len(parts)
        assert abs(means - expected[0]) > 1e-3


def test_counts():
    counts = count_targets([full_batch(False)])
    assert (counts.weight_sum, counts.n_targets, counts.n_sequences) == (23.0, 23, 7)
    batch = full_batch(True)
    counts = count_targets(iter(cut(batch, [3, 5])))
    used = (batch.targets != -100) & (batch.weights > 0)
    assert counts.weight_sum == pytest.approx(batch.weights[used].sum().item(), rel=1e-15)
    assert counts.n_targets == 23
    nothing = count_targets([])
    assert (nothing.weight_sum, nothing.n_targets, nothing.n_sequences) == (0.0, 0, 0)
    # One target per sequence, as in classification; an ignored one's weight, NaN included, is not read.
    one = Part(batch.hidden, torch.tensor([1, -100, 2]), torch.tensor([0.25, float("nan"), 1.0]))
    assert count_targets([one]).weight_sum == 1.25


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="torch was built without gloo")
def test_two_and_four_ranks_are_one_batch(tmp_path: Path):
    # Where there is a fork server, the four ranks are forked from one process that has loaded torch.
    has_server = "forkserver" in multiprocessing.get_all_start_methods()
    if has_server:
        multiprocessing.set_forkserver_preload(["torch", "torch.distributed", "maskwork.losses"])
    start_method = "forkserver" if has_server else "spawn"
    mp.start_processes(rank_main, (str(tmp_path),), nprocs=4, start_method=start_method)
    for rank in range(4):
        results = torch.load(tmp_path / f"{rank}.pt")
        assert results.pop("uneven") == 23
        assert list(results) == ([4, 2] if rank < 2 else [4])
        for sums in results.values():
            assert list(sums) == CASES
            for (reduction, float_weights, linear), got in sums.items():
                expected = loss_and_gradient([full_batch(float_weights)], reduction, linear, None)
                torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)
