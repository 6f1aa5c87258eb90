"""Lowered masks are pytrees: taken apart and put together, or moved, they mean the same."""

import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_mask
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

import maskwork as mw
from maskwork.lower import HuggingFaceMask, to_additive, to_block_mask, to_dense, to_hf, to_sdpa, to_varlen

BOUND = mw.within(mw.causal() & mw.sliding_window(70), [200, 100, 71]).bind(371)
TWO_RUNS = (mw.causal() & (mw.sliding_window(70) | mw.sinks(4))).bind(371)
LOWERINGS = [to_dense, to_additive, to_sdpa, to_varlen, to_hf, to_block_mask]


def assert_equal(ours: object, theirs: object) -> None:
    """The same tree, the same tensors, and functions that give the same answers."""
    (mine, shape), (other, their_shape) = tree_flatten(ours), tree_flatten(theirs)
    assert type(ours) is type(theirs)
    assert shape == their_shape
    for a, b in zip(mine, other, strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    if isinstance(ours, BlockMask):
        assert ours.shape == theirs.shape
        assert str(ours) == str(theirs)
        asked = (create_mask(x.mask_mod, 1, 1, 371, 371, "cpu") for x in (ours, theirs))
        assert torch.equal(*asked)
    if isinstance(ours, HuggingFaceMask):
        assert torch.equal(ours.allowed, theirs.allowed)


@pytest.mark.parametrize("lower", LOWERINGS)
def test_taken_apart_and_put_together(lower):
    made = lower(BOUND)
    leaves, shape = tree_flatten(made)
    assert all(isinstance(leaf, torch.Tensor | int | bool | None) for leaf in leaves)
    assert_equal(tree_unflatten(leaves, shape), made)
    assert_equal(tree_map_only(torch.Tensor, torch.clone, made), made)


@pytest.mark.parametrize("lower", LOWERINGS)
def test_moving_leaves_nothing_behind(lower):
    moved = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), lower(BOUND))
    assert {leaf.device.type for leaf in tree_leaves(moved) if isinstance(leaf, torch.Tensor)} == {"meta"}
    if isinstance(moved, HuggingFaceMask):
        assert moved.allowed.device.type == "meta"


def test_a_block_mask_moves_whole():
    moved = to_block_mask(BOUND).to("meta")
    assert {leaf.device.type for leaf in tree_leaves(moved)} == {"meta"}
    zero = torch.zeros(1, dtype=torch.long, device="meta")
    assert moved.mask_mod(zero, zero, zero, zero).device.type == "meta"
    # a slice is torch's own, with a function of its own
    assert type(to_block_mask(BOUND)[:, :, :1]) is BlockMask


def test_masks_of_a_like_size_have_one_structure():
    """What `torch.compile` and `torch.export` compare: the structure, and the shapes of the leaves."""
    a, b = (to_block_mask(bound) for bound in (TWO_RUNS, (mw.causal() - mw.global_tokens([50])).bind(371)))
    assert tree_flatten(a)[1] == tree_flatten(b)[1]
    assert [leaf.shape for leaf in tree_leaves(a)] == [leaf.shape for leaf in tree_leaves(b)]
