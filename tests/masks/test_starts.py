"""Queries before position 0, and a start for each batch row: every atom and operator, beside its definition."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, Case, atoms, once_shifted, ragged_grids
from helpers.strategies_sparse import sparse_atoms
from maskwork.errors import GridError, MaskError

#: (q_start, q_len, kv_len)
RaggedGrid = tuple[int | list[int], int, int]

starting_cases = st.one_of(once_shifted(atoms()), once_shifted(st.one_of(sparse_atoms, atoms())))


def bind(case: Case, grid: RaggedGrid) -> mw.BoundMask:
    q_start, q_len, kv_len = grid
    return case.mask.bind(q_len, kv_len, q_start=q_start)


def same_cells(bound: mw.BoundMask, dense: np.ndarray) -> bool:
    """Whether both have the same cells; either may leave out batch rows that do not differ."""
    cells = bound.dense()
    return np.array_equal(*np.broadcast_arrays(cells, dense))


@settings(max_examples=400)
@given(starting_cases, ragged_grids())
def test_a_mask_is_its_definition_wherever_its_queries_start(case: Case, grid: RaggedGrid):
    bound = bind(case, grid)
    dense = case.dense(*grid)
    assert same_cells(bound, dense)
    assert bound.allowed == bound.dense().sum()
    assert np.array_equal(bound.empty_rows(), ~bound.dense().any(-1))
