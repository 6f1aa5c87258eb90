"""The loss and gradient of a step, cut into parts and over ranks; a module that other processes can import."""

from typing import NamedTuple

import torch
import torch.distributed as dist

from maskwork.losses import count_targets, linear_masked_cross_entropy, masked_cross_entropy

WIDTH, VOCABULARY, ROWS, LENGTH = 5, 11, 8, 7

CASES = [
    (reduction, float_weights, linear)
    for reduction in ("token_mean", "sequence_mean")
    for float_weights in (False, True)
    for linear in (False, True)
]


#: A loss and the head's gradient.
Sums = tuple[torch.Tensor, torch.Tensor]


class Part(NamedTuple):
    """The fields of a batch of rows that a loss reads."""

    hidden: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def full_batch(float_weights: bool) -> Part:
    """Return eight rows with very different counts of scored tokens; one row has none."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, LENGTH, WIDTH, generator=g, dtype=torch.float64)
    targets = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=g)
    counts = torch.tensor([7, 1, 0, 3, 6, 2, 1, 5])
    targets[torch.arange(LENGTH) >= counts[:, None]] = -100
    weights = torch.rand(ROWS, LENGTH, generator=g, dtype=torch.float64) if float_weights else torch.ones(ROWS, LENGTH)
    weights[0, 2:4] = 0.0
    return Part(hidden, targets, weights)


def head() -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(VOCABULARY, WIDTH, generator=g, dtype=torch.float64)


def loss_and_gradient(parts, reduction, linear, denominator) -> Sums:
    """Sum the losses of the parts and the gradients of the head."""
    weight = head().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for hidden, targets, weights in parts:
        options = {"reduction": reduction, "denominator": denominator}
        if linear:
            out = linear_masked_cross_entropy(hidden, weight, targets, weights, chunk_size=4, **options)
        else:
            out = masked_cross_entropy(hidden @ weight.T, targets, weights, **options)
        out.loss.backward()
        total += out.loss.detach()
    return total, weight.grad


def denominator_of(counts, reduction):
    return counts.weight_sum if reduction == "token_mean" else counts.n_sequences


def cut(part: Part, sizes: list[int]) -> list[Part]:
    return [Part(*pieces) for pieces in zip(*(x.split(sizes) for x in part), strict=True)]


def rank_main(rank: int, folder: str) -> None:
    """Run one of four ranks; ranks 0 and 1 also form a group. Write every case of both groups."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=4)
    pair = dist.new_group([0, 1])
    results = {4: rank_sums(rank, 4, None)}
    if rank < 2:
        results[2] = rank_sums(rank, 2, pair)
    # A rank without any batch still takes part in the sum.
    results["uneven"] = count_targets([full_batch(False)] if rank == 0 else []).weight_sum
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def rank_sums(rank: int, ranks: int, group: dist.ProcessGroup | None) -> dict[tuple[str, bool, bool], Sums]:
    """Return the sums of every case over the ranks, each of which has a different number of rows."""
    results = {}
    for reduction, float_weights, linear in CASES:
        rank_rows = cut(full_batch(float_weights), [1] * (ranks - 1) + [ROWS - ranks + 1])[rank]
        parts = cut(rank_rows, [1] * len(rank_rows.targets))
        denominator = denominator_of(count_targets(parts, group), reduction)
        loss, gradient = loss_and_gradient(parts, reduction, linear, denominator)
        dist.all_reduce(loss, group=group)
        dist.all_reduce(gradient, group=group)
        results[reduction, float_weights, linear] = (loss, gradient)
    return results
