"""Repeatability: a run's identity, and the rows and seeds of a step, which depend on seed and step alone.

A resumed run therefore needs no stored generator and no stored order: a checkpoint holds the number of the step.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from .._shared.numbers import at_least
from .._shared.shuffle import permutation
from ..objectives import Curriculum, Objective
from ._config import TrainConfig
from ._run import RunFolder

if TYPE_CHECKING:
    from ..data import PackedRow


def rows_of_step(n_rows: int, rows_per_step: int, seed: int, step: int) -> npt.NDArray[np.int64]:
    """Return the indices of the rows of step `step` (counted from 0): int64 (rows_per_step,), each in [0, n_rows).

    The rows are dealt from one long stream, a fresh permutation per epoch, so each row comes once per epoch and a step
    may straddle two epochs. With fewer rows than a step needs, rows recur within the step.

        epoch 0    epoch 1    epoch 2          4 rows, 3 per step
        3 1 0 2    0 2 3 1    ...
        step 0| step 1| step 2|

    Raises:
        ArgumentError: there are no rows, or an argument is not an integer in its range.

    >>> first, second = rows_of_step(4, 2, seed=0, step=0), rows_of_step(4, 2, seed=0, step=1)
    >>> sorted([*first.tolist(), *second.tolist()])
    [0, 1, 2, 3]
    """
    return RowOrder(n_rows, rows_per_step, seed).of_step(step)


class RowOrder:
    """The order of the rows of a run: `rows_of_step` for many steps, without sorting an epoch again for each step."""

    def __init__(self, n_rows: int, rows_per_step: int, seed: int) -> None:
        self._n_rows = at_least(n_rows, 1, "n_rows")
        self._rows_per_step = at_least(rows_per_step, 1, "rows_per_step")
        self._seed = at_least(seed, 0, "seed")
        self._permutations: dict[int, npt.NDArray[np.int64]] = {}  # of the epochs of the newest step

    def of_step(self, step: int) -> npt.NDArray[np.int64]:
        """Return the indices of the rows of a step."""
        begin = at_least(step, 0, "step") * self._rows_per_step
        # Where each row of the step stands in the stream: its epoch, and its place in the epoch's permutation.
        epochs, places = np.divmod(np.arange(begin, begin + self._rows_per_step), self._n_rows)
        self._permutations = {
            epoch: self._permutations[epoch] if epoch in self._permutations else self._permutation(epoch)
            for epoch in np.unique(epochs).tolist()
        }
        order = np.empty(self._rows_per_step, dtype=np.int64)
        for epoch, rows in self._permutations.items():
            order[epochs == epoch] = rows[places[epochs == epoch]]
        return order

    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order of all rows in an epoch: int64 (n_rows,)."""
        return permutation(np.random.SeedSequence([self._seed, epoch]), self._n_rows)


def run_identity(
    rows: Sequence[PackedRow],
    objective: Objective,
    config: TrainConfig,
    run: RunFolder,
    curriculum: Curriculum | None = None,
) -> dict[str, Any]:
    """Return what a resumed run must share with the checkpoint; a value that differs is named by its key."""
    digest = hashlib.sha256()
    # Lengths too: the same tokens cut into other documents are other data.
    for row in rows:
        digest.update(np.asarray([len(row.tokens), row.padding, *row.lengths], dtype=np.int64).tobytes())
        digest.update(np.ascontiguousarray(row.tokens, dtype=np.int64).tobytes())
    identity = {
        "model": run.config["model"],
        "data": run.config["data"],
        "train": config.to_dict(),
        "objective": _identity_of(objective),
        "rows": digest.hexdigest(),
    }
    if curriculum:
        difficulty = curriculum.difficulty
        identity["curriculum"] = {
            "schedule": repr(curriculum),
            "difficulty": "loss" if difficulty is None else _identity_of(difficulty),
        }
    return identity


def _identity_of(function: object) -> str:
    """Return the repr of a dataclass, which tells its value; of another callable, its name."""
    if dataclasses.is_dataclass(function):
        return repr(function)
    return getattr(function, "__qualname__", type(function).__qualname__)


@contextmanager
def seeded(seed: int, step: int, device: torch.device) -> Iterator[torch.Generator]:
    """Yield a generator for the objective; in the block, the global generators that dropout reads have the same seed.

    Seed and step alone decide. Afterwards the global generators have the state that they had.
    """
    # The third number separates these draws from those of the row order, whose seed has two numbers.
    mixed = int(np.random.SeedSequence([seed, step, 1]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    on_cuda = device.type == "cuda"
    # `fork_rng` restores the state of the global generators, also after an error.
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(mixed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(mixed)
        yield torch.Generator().manual_seed(mixed)
