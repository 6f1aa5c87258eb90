"""`PackedStream`: batches of packed rows, the same for any number of workers, resumed at any batch."""

#   source(epoch) -> documents -> [example] -> buffer of best fit -> rows -> shuffled -> batches 0 1 2 3 4 5 ...
#                                                                                 worker 0:  0   2   4
#   every worker plans all rows, by length, and makes every w-th batch            worker 1:    1   3   5

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .._shared.numbers import at_least, is_integer
from .._shared.shuffle import permutation
from ..data import Example, PackedRow, as_tokens
from ..data._packing.packing import Overflow, Packing, Piece, Pieces, Strategy, drained, row_of
from ..errors import ArgumentError, CheckpointError
from ._batches.batch import Batch, Objective
from ._batches.collate import collate

#: A document of the source: its tokens, or the finished example.
SourceDocument = Sequence[int] | np.ndarray | Example

# The purposes of a seed, mixed into it so that no two draws share one.
_BATCH, _DOCUMENT, _GROUP = range(3)


class PackedStream(IterableDataset[Batch]):
    """Batches of packed rows from a source that may be larger than memory; one pass over it is one epoch.

    Every number is a function of the seed, the epoch and the batch alone: with any number of workers the same batches
    come in the same order, and a stream that loads the state of another continues with the batches that the other
    would have yielded. Each worker reads the whole source and plans all rows by their lengths, in the buffer of
    `mw.data.pack`, but makes only its own batches. The rows of a best-fit buffer are shuffled, by the seed, since they
    are planned the longest first.

    Args:
        source: the documents of an epoch, token sequences or `Example`s: an iterable that starts anew each time, or a
            function of the epoch's number, for another order in each.
        max_len: the length of a row in tokens.
        batch_rows: the rows of a batch; the last batch of an epoch may have fewer.
        objective: a function from rows of bare tokens to a batch, with a generator for each batch.
        example: a function from a document to an `Example` before packing, with a generator for each document: for
            objectives that change lengths, in place of `objective`. Every worker makes all examples. Without both, the
            source holds `Example`s.
        seed: the seed of the generators and of the order of rows.
        strategy: as for `mw.data.pack`; so are `overflow` and `buffer`.
        workers: the number of processes that make batches; 0 makes them in the calling process. Where processes are
            spawned, not forked, `source`, `objective` and `example` must be picklable.

    Iteration continues where the last iteration stopped, or with the next epoch; `state_dict()` holds that place, and
    counts batches that were taken, not those that workers made ahead. To continue within an epoch, its beginning is
    read and planned again, but not made.

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
        source: Iterable[SourceDocument] | Callable[[int], Iterable[SourceDocument]],
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
                "a stream makes batches with an objective, or packs the examples that `example` makes, got both; "
                "leave out the objective where lengths change, else `example`"
            )
        if isinstance(source, Iterator):
            raise ArgumentError(
                f"a stream reads its source anew in each epoch and worker, got {type(source).__name__}, which can be "
                "read once; pass a list, or a function of the epoch that makes it"
            )
        self._batch_rows = at_least(batch_rows, 1, "batch_rows")
        self._workers, self._seed = at_least(workers, 0, "workers"), at_least(seed, 0, "seed")
        self._packing = Packing(max_len, strategy, overflow, buffer)
        self._source, self._objective, self._example = source, objective, example
        self._epoch = self._batch = 0  # the next batch: what `state_dict` stores

    def __iter__(self) -> Iterator[Batch]:
        if get_worker_info() is not None:
            raise ArgumentError(
                "a stream starts workers of its own, so that its state counts batches taken, not those made ahead, "
                "got a DataLoader's worker; pass workers=… to PackedStream and iterate it"
            )
        epoch, first = self._epoch, self._batch
        batches: Iterable[Batch] = _WorkerShare(self, epoch, first)
        if self._workers:
            # Its own generator: a DataLoader draws its workers' seeds from the global one otherwise.
            generator = torch.Generator()
            batches = DataLoader(
                batches, batch_size=None, num_workers=self._workers, collate_fn=_unchanged, generator=generator
            )
        for number, batch in enumerate(batches, first + 1):
            self._epoch, self._batch = epoch, number  # before the yield: a yielded batch is a taken one
            yield batch
        self._epoch, self._batch = epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of its batches taken, with the settings that a resume must share."""
        return {"epoch": self._epoch, "batch": self._batch, **self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the stream of `state` was; the number of workers may differ.

        Raises:
            CheckpointError: the settings differ, or the state counts no batches.
        """
        for name, value in self._settings.items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"a stream continues with the settings it began with, got {name} = {state.get(name)!r} in the "
                    f"state and {value!r} in the stream; make the stream with the settings of the state"
                )
        for name in ("epoch", "batch"):
            if not is_integer(state.get(name)) or int(state[name]) < 0:
                raise CheckpointError(
                    f"a stream's state counts epochs and batches from 0, got {name} = {state.get(name)!r}; load the "
                    "result of state_dict()"
                )
        self._epoch, self._batch = int(state["epoch"]), int(state["batch"])

    @property
    def _settings(self) -> dict[str, Any]:
        # Everything that decides which rows and numbers a batch holds, and nothing else.
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
        """Yield every `shares`-th batch of the epoch, from number `first + share` on."""
        number = -1
        for number, rows in enumerate(self._planned(epoch)):
            if number >= first and (number - first) % shares == share:
                packed = [row_of(row, self._packing.max_len) for row in rows]
                yield self._make_batch(packed, self._generator(_BATCH, epoch, number))
        if number + 1 < first:
            raise CheckpointError(
                f"a stream continues in the source that it began with, got a source of {number + 1} batches in epoch "
                f"{epoch}, of which {first} batches were taken; pass the source of the state"
            )

    def _make_batch(self, rows: list[PackedRow], generator: torch.Generator) -> Batch:
        return collate(rows) if self._objective is None else self._objective(rows, generator)

    def _planned(self, epoch: int) -> Iterator[list[list[Piece]]]:
        """Yield the rows of each batch, as lists of the pieces to be packed into a row."""
        groups = self._packing.groups(Pieces(self._packing, self._documents(epoch)))
        rows = drained(self._shuffled(group, epoch, number) for number, group in enumerate(groups))
        while batch := list(islice(rows, self._batch_rows)):
            yield batch

    def _shuffled(self, group: list[list[Piece]], epoch: int, number: int) -> list[list[Piece]]:
        order = permutation(self._seed_sequence(_GROUP, epoch, number), len(group))
        group[:] = [group[index] for index in order]  # the one list, which `drained` empties
        return group

    def _documents(self, epoch: int) -> Iterable[SourceDocument]:
        """Return the documents of an epoch, as examples if the stream makes them before packing."""
        documents = self._source(epoch) if callable(self._source) else self._source
        make = self._example
        if make is None:
            return documents
        # The number of the document, not of the worker, seeds its generator: every worker makes the same example.
        return (
            make(as_tokens(cast(Any, document), number), self._generator(_DOCUMENT, epoch, number))
            for number, document in enumerate(documents)
        )

    def _generator(self, purpose: int, epoch: int, number: int) -> torch.Generator:
        # 63 bits: torch takes no seed above
        bits = self._seed_sequence(purpose, epoch, number).generate_state(1, np.uint64)[0] >> np.uint64(1)
        return torch.Generator().manual_seed(int(bits))

    def _seed_sequence(self, purpose: int, epoch: int, number: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self._seed, purpose, epoch, number])


class _WorkerShare(IterableDataset[Batch]):
    """The batches that one worker makes of the rest of an epoch; all batches in a process without workers."""

    def __init__(self, stream: PackedStream, epoch: int, first: int) -> None:
        self._stream, self._epoch, self._first = stream, epoch, first

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        share, shares = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self._stream._batches(self._epoch, self._first, share, shares)


def _unchanged(batch: Any) -> Any:
    # a module's function, because a spawned worker pickles it
    return batch
