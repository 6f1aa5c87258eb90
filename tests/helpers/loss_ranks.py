"""A step's loss and gradient, cut into parts and over ranks; a module of its own, so that other processes import it."""

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
    """A batch of rows, as far as a loss reads it."""

    hidden: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def whole(float_weights: bool) -> Part:
    """Eight rows with very different counts, one of them with nothing to score."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, LENGTH, WIDTH, generator=g, dtype=torch.float64)
    targets = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=g)
    keep = torch.tensor([7, 1, 0, 3, 6, 2, 1, 5])
    targets[torch.arange(LENGTH) >= keep[:, None]] = -100
    weights = torch.rand(ROWS, LENGTH, generator=g, dtype=torch.float64) if float_weights else torch.ones(ROWS, LENGTH)
    weights[0, 2:4] = 0.0
    return Part(hidden, targets, weights)


def head() -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(VOCABULARY, WIDTH, generator=g, dtype=torch.float64)


def loss_and_gradient(parts, reduction, linear, denominator) -> Sums:
    """The parts' losses and the head's gradients, added up."""
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
    """One of four ranks, the first two of which are a group as well; writes every case's loss and gradient of both."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=4)
    pair = dist.new_group([0, 1])
    results = {4: of_rank(rank, 4, None)}
    if rank < 2:
        results[2] = of_rank(rank, 2, pair)
    # A rank with nothing at all still takes part.
    results["uneven"] = count_targets([whole(False)] if rank == 0 else []).weight_sum
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def of_rank(rank: int, ranks: int, group: dist.ProcessGroup | None) -> dict[tuple[str, bool, bool], Sums]:
    """Every case's sums over the ranks, each of which has its own rows, unevenly many."""
    results = {}
    for reduction, float_weights, linear in CASES:
        mine = cut(whole(float_weights), [1] * (ranks - 1) + [ROWS - ranks + 1])[rank]
        parts = cut(mine, [1] * len(mine.targets))
        denominator = denominator_of(count_targets(parts, group), reduction)
        loss, gradient = loss_and_gradient(parts, reduction, linear, denominator)
        dist.all_reduce(loss, group=group)
        dist.all_reduce(gradient, group=group)
        results[reduction, float_weights, linear] = (loss, gradient)
    return results
