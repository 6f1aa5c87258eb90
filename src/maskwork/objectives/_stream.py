"""`PackedStream`: batches of packed rows, the same for any number of workers, resumed at any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..data import Example, PackedRow, as_tokens
from ..data._packing.packing import Overflow, Packing, Piece, Pieces, Strategy, drained, row_of
from ..errors import ArgumentError, CheckpointError
from ._batches.batch import Batch, Objective
from ._batches.collate import collate

Document = Sequence[int] | np.ndarray | Example

# What a seed is drawn for, so that no two draws share one.
_BATCH, _DOCUMENT, _GROUP = range(3)


class PackedStream(IterableDataset[Batch]):
    """Batches of packed rows from a source that may be larger than memory; one pass over it is one epoch.

    Every number is a function of the seed, the epoch and the batch alone: with any number of workers the same batches
    come in the same order, and a stream that loads another's state goes on with the very batches that it would have
    given. Each worker reads the whole source and decides on all rows by their lengths, in the buffer of
    `mw.data.pack`, but makes only its own batches. The rows of a best-fit buffer are shuffled, by the seed, since they
    are decided upon the longest first.

    Args:
        source: the documents of an epoch, token sequences or `Example`s: an iterable that starts anew each time, or a
            function from the epoch's number, for another order in each.
        max_len: length of a row in tokens.
        batch_rows: rows of a batch; the last batch of an epoch may have fewer.
        objective: makes a batch of rows of bare tokens, with a generator of the batch's own.
        example: makes an `Example` of a document before it is packed, with a generator of the document's own: for
            objectives that change lengths, in place of `objective`. Every worker makes all of them. Without both, the
            source holds `Example`s.
        seed: of the generators and of the order of rows.
        strategy: as for `mw.data.pack`; so are `overflow` and `buffer`.
        workers: processes that make batches; 0 makes them in this one. Where processes are spawned, not forked,
            `source`, `objective` and `example` must be picklable.

    Iteration goes on where the last one stopped, or with the next epoch; `state_dict()` says where that is, and counts
    batches that were taken, not those that workers made ahead. To go on within an epoch, its beginning is read and
    planned again, but not made.

    Raises:
        ArgumentError: at the call, for a wrong option; at iteration, as `mw.data.pack`.

    >>> from maskwork.objectives import CausalLM
    >>> stream = PackedStream([[1, 2, 3], [4, 5], [6, 7, 8, 9]], 5, batch_rows=1, objective=CausalLM())
    >>> [batch.input_ids.tolist() for batch in stream]
    [[[6, 7, 8, 9, 0]], [[1, 2, 3, 4, 5]]]
    >>> stream.state_dict()["epoch"], stream.state_dict()["batch"]
    (1, 0)
    """

    def __init__(
        self,
        source: Iterable[Document] | Callable[[int], Iterable[Document]],
        max_len: int,
        batch_rows: int,
        objective: Objective | None = None,
        *,
        example: Callable[[np.ndarray, torch.Generator], Example] | None = None,
        seed: int = 0,
        strategy: Strategy = "best_fit",
        overflow: Overflow = "raise",
        buffer: int = 512,
        workers: int = 0,
    ) -> None:
        if objective is not None and example is not None:
            raise ArgumentError(
                "a stream makes batches with an objective, or packs the examples that `example` makes; found both; "
                "leave out the objective where lengths change, else `example`"
            )
        if isinstance(source, Iterator):
            raise ArgumentError(
                f"a stream reads its source anew in each epoch and worker; found {type(source).__name__}, which can be "
                "read once; pass a list, or a function of the epoch that makes it"
            )
        for name, value, least in (("batch_rows", batch_rows, 1), ("workers", workers, 0), ("seed", seed, 0)):
            if not isinstance(value, int) or value < least:
                raise ArgumentError(f"{name} must be an integer of at least {least}; found {value!r}; pass another")
        self._packing = Packing(max_len, strategy, overflow, buffer)
        self._source, self._objective, self._example = source, objective, example
        self._batch_rows, self._seed, self._workers = batch_rows, seed, workers
        self._epoch = self._batch = 0

    def __iter__(self) -> Iterator[Batch]:
        if get_worker_info() is not None:
            raise ArgumentError(
                "a stream starts workers of its own, so that its state counts batches taken, not those made ahead; "
                "found a DataLoader's worker; pass workers=… to PackedStream and iterate it"
            )
        epoch, first = self._epoch, self._batch
        share = _Share(self, epoch, first)
        # A generator of its own: a DataLoader draws its workers' seeds from the global one otherwise.
        loader: Iterable[Batch] = (
            DataLoader(
                share, batch_size=None, num_workers=self._workers, collate_fn=_as_it_is, generator=torch.Generator()
            )
            if self._workers
            else share
        )
        for taken, batch in enumerate(loader, first + 1):
            self._epoch, self._batch = epoch, taken  # before the batch is given: whoever holds it has taken it
            yield batch
        self._epoch, self._batch = epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the number of its batches that were taken, with what must be equal to go on: plain values."""
        return {"epoch": self._epoch, "batch": self._batch, **self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the stream that gave `state` was; the number of workers may be another.

        Raises:
            CheckpointError: that stream was made with other settings.
        """
        for name, value in self._settings.items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"a stream goes on with the settings it began with; {name} is {state.get(name)!r} in the state and "
                    f"{value!r} here; make the stream with the state's"
                )
        for name in ("epoch", "batch"):
            if not isinstance(state.get(name), int) or state[name] < 0:
                raise CheckpointError(
                    f"a stream's state counts epochs and batches from 0; {name} is {state.get(name)!r} in it; load "
                    "what state_dict() gave"
                )
        self._epoch, self._batch = state["epoch"], state["batch"]

    @property
    def _settings(self) -> dict[str, Any]:
        packing = self._packing
        return {
            "seed": self._seed,
            "batch_rows": self._batch_rows,
            "max_len": int(packing.max_len),
            "strategy": packing.strategy,
            "overflow": packing.overflow,
            "buffer": int(packing.buffer),
        }

    def _batches(self, epoch: int, first: int, share: int, shares: int) -> Iterator[Batch]:
        """Every `shares`-th batch of the epoch from number `first + share` on."""
        number = -1
        for number, rows in enumerate(self._planned(epoch)):
            if number >= first and (number - first) % shares == share:
                made = [row_of(row, self._packing.max_len) for row in rows]
                yield self._made(made, self._generator(_BATCH, epoch, number))
        if number + 1 < first:
            raise CheckpointError(
                f"a stream goes on in the source that it began with; {first} batches of epoch {epoch} were taken, and "
                f"it has {number + 1}; give the stream the source of the state"
            )

    def _made(self, rows: list[PackedRow], generator: torch.Generator) -> Batch:
        return collate(rows) if self._objective is None else self._objective(rows, generator)

    def _planned(self, epoch: int) -> Iterator[list[list[Piece]]]:
        """The rows of each batch, as the pieces that they are to hold."""
        groups = self._packing.groups(Pieces(self._packing, self._documents(epoch)))
        rows = drained(self._shuffled(group, epoch, number) for number, group in enumerate(groups))
        while batch := list(islice(rows, self._batch_rows)):
            yield batch

    def _shuffled(self, group: list[list[Piece]], epoch: int, number: int) -> list[list[Piece]]:
        # The bits of PCG64 are the same in every NumPy; `Generator.permutation` may change between versions.
        bits = np.random.PCG64(self._mixed(_GROUP, epoch, number)).random_raw(len(group))
        group[:] = [group[index] for index in np.argsort(bits, kind="stable")]  # the one list, which `drained` empties
        return group

    def _documents(self, epoch: int) -> Iterable[Document]:
        documents = self._source(epoch) if callable(self._source) else self._source
        make = self._example
        if make is None:
            return documents
        return (
            make(as_tokens(document, number), self._generator(_DOCUMENT, epoch, number))
            for number, document in enumerate(documents)
        )

    def _generator(self, what: int, epoch: int, number: int) -> torch.Generator:
        mixed = self._mixed(what, epoch, number).generate_state(1, np.uint64)[0] >> np.uint64(1)
        return torch.Generator().manual_seed(int(mixed))

    def _mixed(self, what: int, epoch: int, number: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self._seed, what, epoch, number])


class _Share(IterableDataset[Batch]):
    """What one worker makes of the rest of an epoch; all of it where there are none."""

    def __init__(self, stream: PackedStream, epoch: int, first: int) -> None:
        self._stream, self._epoch, self._first = stream, epoch, first

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        share, shares = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self._stream._batches(self._epoch, self._first, share, shares)


def _as_it_is(batch: Batch) -> Batch:
    return batch
