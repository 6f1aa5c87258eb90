"""A stream gives the same batches with any number of workers, and goes on bit for bit from any state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from maskwork.data import Example, PackedRow, pack
from maskwork.errors import ArgumentError, CheckpointError
from maskwork.objectives import Batch, CausalLM, PackedStream, collate

# More workers than cores are what is asked for here.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class Documents:
    """Other documents in another order in each epoch, made as they are read."""

    def __init__(self, number: int = 60) -> None:
        self.number = number

    def __call__(self, epoch: int) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(epoch)
        for _ in range(self.number):
            yield rng.integers(1, 1000, size=rng.integers(1, 30))


class Noisy:
    """An objective whose every batch shows its generator's numbers."""

    def __call__(self, rows: Sequence[PackedRow], generator: torch.Generator | None = None) -> Batch:
        batch = CausalLM()(rows)
        weights = torch.rand(batch.weights.shape, generator=generator) * batch.scored
        return Batch(**{**vars(batch), "weights": weights})


def shortened(tokens: np.ndarray, generator: torch.Generator) -> Example:
    """An objective that changes lengths at random."""
    return CausalLM().example(tokens[: 1 + int(torch.randint(len(tokens), (), generator=generator))])


def stream_of(workers: int = 0, **options) -> PackedStream:
    settings = {"objective": Noisy(), "seed": 3, "buffer": 4, "overflow": "split"} | options
    return PackedStream(Documents(), 24, 3, workers=workers, **settings)


def same(one: Batch, other: Batch) -> bool:
    tensors = (name for name, value in vars(one).items() if isinstance(value, torch.Tensor))
    return one.mask == other.mask and all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    assert all(same(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("options", [{}, {"objective": None, "example": shortened}], ids=["objective", "example"])
def test_any_number_of_workers_gives_the_same_batches(workers: int, options: dict):
    alone = stream_of(**options)
    expected = [*alone, *alone]  # two epochs
    assert len(expected) > 12
    before = torch.random.get_rng_state()
    stream = stream_of(workers, **options)
    assert_same([*stream, *stream], expected)
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator has no part in it


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (0, 2), (2, 4)])
@pytest.mark.parametrize("taken", [1, 5])
def test_a_state_counts_what_was_taken_and_goes_on_bit_for_bit(before: int, after: int, taken: int):
    alone = stream_of()
    expected = [*alone, *alone]
    broken_off = stream_of(before)
    iterator = iter(broken_off)
    for _ in islice(iterator, taken):
        pass  # workers have made more than these by now
    state = json.loads(json.dumps(broken_off.state_dict()))
    assert (state["epoch"], state["batch"]) == (0, taken)
    del iterator
    resumed = stream_of(after)
    resumed.load_state_dict(state)
    assert_same([*resumed, *resumed], expected[taken:])


def test_the_state_at_the_last_batch_of_an_epoch_and_after_it():
    stream = stream_of()
    states = [stream.state_dict() for _ in stream]
    assert [state["batch"] for state in states] == list(range(1, len(states) + 1))
    resumed = stream_of()
    resumed.load_state_dict(states[-1])
    assert list(resumed) == []  # nothing is left of that epoch
    assert resumed.state_dict() == stream.state_dict() == {**states[0], "epoch": 1, "batch": 0}


def test_a_second_iteration_goes_on():
    stream = stream_of()
    first = list(islice(iter(stream), 2))
    assert_same(first + list(stream), list(stream_of()))


def test_epochs_and_seeds_differ_and_every_document_comes_once():
    rows = list(pack(Documents()(0), 24, overflow="split", buffer=4))
    wanted = sorted(row.tokens.tolist() for row in rows)
    stream = stream_of()
    first, second = list(stream), list(stream)
    assert sorted(ids for batch in first for ids in batch.input_ids.tolist()) == wanted
    assert not same(first[0], second[0])
    assert not same(first[0], next(iter(stream_of(seed=4))))
    # Rows of one buffer are shuffled: no longer the longest first.
    assert [ids for batch in first for ids in batch.input_ids.tolist()] != [row.tokens.tolist() for row in rows]
    # The same source in each epoch, and still other draws.
    fixed = PackedStream([[1, 2, 3]], 4, 1, Noisy())
    (one,), (other,) = list(fixed), list(fixed)
    assert torch.equal(one.input_ids, other.input_ids)
    assert not torch.equal(one.weights, other.weights)


def test_a_source_of_examples_needs_no_objective():
    examples = [CausalLM().example([1, 2, 3]), CausalLM().example([4, 5])]
    (batch,) = PackedStream(examples, 5, 2)
    assert same(batch, collate(list(pack(examples, 5))))


def test_a_dataloader_in_this_process_may_stand_round_it():
    stream = stream_of()
    loader = DataLoader(stream, batch_size=None)
    assert_same(list(islice(iter(loader), 2)), list(islice(iter(stream_of()), 2)))
    assert stream.state_dict()["batch"] == 2


def test_a_dataloaders_workers_are_refused():
    with pytest.raises(ArgumentError, match="pass workers=… to PackedStream"):
        next(iter(DataLoader(stream_of(), batch_size=None, num_workers=1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": iter([[1, 2]])}, "list_iterator, which can be read once"),
        ({"batch_rows": 0}, "batch_rows must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"seed": 0.5}, "seed must be an integer"),
        ({"example": shortened}, "got both"),
        ({"max_len": 1}, "at least 2"),
        ({"strategy": "none"}, "strategy"),
    ],
)
def test_wrong_options_are_refused_at_the_call(options: dict, message: str):
    arguments = {"source": [[1, 2]], "max_len": 4, "batch_rows": 1, "objective": CausalLM()} | options
    with pytest.raises(ArgumentError, match=message):
        PackedStream(**arguments)


def test_a_state_of_another_stream_is_refused():
    state = stream_of().state_dict()
    with pytest.raises(CheckpointError, match="buffer = 4 in the state and 5 in the stream"):
        stream_of(buffer=5).load_state_dict(state)


def short_stream(documents=((1, 2), (3, 4)), **options):
    return PackedStream(documents, 2, 1, CausalLM(), strategy="sequential", **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_beyond_the_end_of_the_source_is_refused(workers):
    state = short_stream([[1, 2]] * 5).state_dict() | {"batch": 4}
    shorter = short_stream(workers=workers)
    shorter.load_state_dict(state)
    with pytest.raises(CheckpointError, match="got a source of 2 batches in epoch 0, of which 4 batches were taken"):
        list(shorter)
    at_the_end = short_stream(workers=workers)
    at_the_end.load_state_dict(state | {"batch": 2})
    assert list(at_the_end) == []


@pytest.mark.parametrize("change", [{"batch": -1}, {"batch": 1.5}, {"epoch": "0"}, {"epoch": None}])
def test_a_state_that_is_none_is_refused(change):
    with pytest.raises(CheckpointError, match="counts epochs and batches"):
        short_stream().load_state_dict(short_stream().state_dict() | change)
