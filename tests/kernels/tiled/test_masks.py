"""The masks of tiles, as what is added to scores."""

import torch

import maskwork as mw
from maskwork.kernels._tiled.masks import Masks, masks_of
from maskwork.kernels._tiled.schedule import Pattern, Schedule, Tile, read_schedule, to_tiles


def test_tiles_that_spread_one_pattern_differently_keep_their_own_masks():
    """One masks 2 and 4 columns, the other 4 and 2, beginning at the same places: one pattern, two masks."""
    pattern = Pattern(torch.tensor([[0, 0]], dtype=torch.int32), torch.tensor([[3, 6]], dtype=torch.int32), 6)
    tiles = tuple(
        Tile(-1, -1, slice(rows, rows + 2), 2, (slice(0, 10),), 10, (slice(0, end), slice(5, 11 - end)), 0)
        for rows, end in ((0, 2), (2, 4))
    )
    masks = Masks(Schedule((), tiles, (pattern,), True))
    for tile in tiles:
        sizes = [columns.stop - columns.start for columns, _ in masks.additive(tile, torch.float32)]
        assert sizes == [columns.stop - columns.start for columns in tile.masked]
        assert masks.allowed(tile).sum() == 2 * 4 + 3 + 6


def test_masks_are_computed_once_for_a_schedule():
    schedule = read_schedule(to_tiles((mw.causal() & mw.sliding_window(20)).bind(100)))
    masks = masks_of(schedule)
    assert masks_of(schedule) is masks
    masked = [tile for tile in schedule.tiles if tile.pattern >= 0]
    assert masked
    for tile in masked:
        assert masks.additive(tile, torch.float32) is masks.additive(tile, torch.float32)
