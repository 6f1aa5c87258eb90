"""Schedules of tiles: each cell of the mask in exactly one part, whatever the mask."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import Case, cases, grids
from helpers.strategies_sparse import sparse_cases
from maskwork.kernels._tiled import schedule as _tiles
from maskwork.kernels._tiled.schedule import (
    Schedule,
    count_cells,
    read_schedule,
    to_tiles,
    unrolled,
    without_segments,
)


def paint(schedule: Schedule, shape: tuple[int, int, int, int]) -> np.ndarray:
    """The cells that the parts allow; every row may be in one part only."""
    out = np.zeros(shape, dtype=bool)
    parts = np.zeros(shape[:3], dtype=int)
    for batch, head, part in schedule.segments:
        where = (_lane(batch), _lane(head), slice(part.q0, part.q1))
        parts[where] += 1
        out[(*where, slice(part.k0, part.k1))] = True
        if part.causal:
            rows = part.q1 - part.q0
            out[(*where, slice(part.k1, part.k1 + rows))] = np.tri(rows, dtype=bool)
    for tile in unrolled(schedule).tiles:
        keys = np.concatenate([_listed(piece) for piece in tile.keys])
        rows = _listed(tile.rows)
        assert len(keys) == tile.width
        assert len(rows) == tile.height
        assert len(np.unique(keys)) == len(keys)
        allowed = np.ones((tile.height, tile.width), dtype=bool)
        if tile.pattern >= 0:
            masked = np.concatenate([_listed(piece) for piece in tile.masked])
            allowed[:, masked] = schedule.patterns[tile.pattern].allowed().numpy()
        for b in np.arange(shape[0])[_lane(tile.batch)]:
            for h in np.arange(shape[1])[_lane(tile.head)]:
                parts[b, h, rows] += 1
                out[b, h, rows[:, None], keys] = allowed
    assert parts.max(initial=0) <= 1
    assert (parts[out.any(-1)] == 1).all()
    assert schedule.complete == bool((parts == 1).all())
    return out


def _lane(number: int) -> slice:
    return slice(None) if number < 0 else slice(number, number + 1)


def _listed(piece: slice | torch.Tensor) -> np.ndarray:
    return np.arange(piece.start, piece.stop) if isinstance(piece, slice) else piece.numpy()


@settings(max_examples=150)
@given(st.one_of(cases, sparse_cases), grids(), st.booleans())
def test_every_mask_is_its_parts(case: Case, grid: tuple[int, int, int], eager: bool):
    q_start, q_len, kv_len = grid
    # small grids have no large rectangles, unless three rows make one
    least = (3, 1) if eager else (_tiles._SEGMENT_ROWS, _tiles._SEGMENT_KEYS)
    with mock.patch.multiple(_tiles, _SEGMENT_ROWS=least[0], _SEGMENT_KEYS=least[1]):
        bound = case.mask.bind(q_len, kv_len, q_start=q_start)
        schedule = read_schedule(to_tiles(bound))
        assert (paint(schedule, bound.shape) == bound.dense()).all()
        assert (paint(without_segments(schedule), bound.shape) == bound.dense()).all()


LONG = {
    "window": mw.causal() & mw.sliding_window(70),
    "window and sinks": mw.causal() & (mw.sliding_window(64) | mw.sinks(4)),
    "documents": mw.causal() & mw.document([130] * 7 + [90]),
    "documents of many lengths": mw.causal() & mw.document([1, 400, 2, 2, 195, 300, 100]),
    "documents without order": mw.document(ids=(np.arange(1000) * 7 % 13 - 1)),
    "prefix": mw.causal() | mw.prefix(300),
    "prefix and padding": (mw.causal() | mw.prefix(300)) & mw.padding(900),
    "band and scattered globals": mw.band(40, 40) | mw.global_tokens([5, 100, 101, 600, 999]),
    "dilated": mw.dilated(6, 4),
    "two dimensions": mw.neighborhood((20, 50), (5, 7)),
    "chunks": mw.chunked(96),
    "tree": mw.tree([-1, *((np.arange(1, 1000) - 1) // 2).tolist()]),
    "nothing": mw.empty(),
    "everything": mw.full(),
    "per head": mw.per_head([mw.causal(), mw.sliding_window(30), mw.empty()]),
    "per row": mw.causal() & mw.padding([1000, 0, 513]),
}


@pytest.mark.parametrize("name", LONG)
def test_long_masks_are_their_parts(name: str):
    bound = LONG[name].bind(1000)
    assert (paint(read_schedule(to_tiles(bound)), bound.shape) == bound.dense()).all()


def test_work_follows_what_is_allowed():
    for name in ("window", "window and sinks", "documents", "band and scattered globals", "chunks"):
        bound = LONG[name].bind(1000)
        assert count_cells(read_schedule(to_tiles(bound))) < 2.2 * bound.allowed, name


def test_a_regular_mask_is_few_tiles_however_long():
    mask = mw.causal() & (mw.sliding_window(512) | mw.sinks(4))
    short, long = (to_tiles(mask.bind(n)) for n in (1 << 14, 1 << 18))
    assert len(long) < 2 * len(short)


def test_a_schedule_is_written_once_and_names_its_content():
    bound = LONG["window"].bind(1000)
    assert to_tiles(bound) is to_tiles(bound)
    assert read_schedule(to_tiles(bound)) is read_schedule(to_tiles(LONG["window"].bind(1000)))
    assert read_schedule(to_tiles(bound)) is not read_schedule(to_tiles(LONG["window"].bind(999)))


def test_a_schedule_is_a_value_and_so_is_what_is_derived_from_it():
    schedule = read_schedule(to_tiles(LONG["prefix"].bind(1000)))
    for derived in (schedule, unrolled(schedule), without_segments(schedule)):
        hidden = set(vars(derived)) - {"segments", "tiles", "patterns", "complete"}
        assert not hidden
        assert all(isinstance(part, tuple) for part in (derived.segments, derived.tiles, derived.patterns))
        assert all(isinstance(part, tuple) for tile in derived.tiles for part in (tile.keys, tile.masked))
    assert unrolled(schedule) is unrolled(schedule)
    assert without_segments(schedule) is without_segments(schedule)
