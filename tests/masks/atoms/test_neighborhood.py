"""`neighborhood` with strides, causal axes and dilation against NATTEN's rule, written for one axis with loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import MaskError


def seen_along(n: int, window: int, stride: int, causal: bool, dilation: int) -> np.ndarray:
    """Return which cells of one axis each cell sees: bool (n, n). Cells of one remainder are an axis of their own."""
    sees = np.zeros((n, n), dtype=bool)
    for first in range(dilation):
        axis = list(range(first, n, dilation))
        groups = [axis[i : i + stride] for i in range(0, len(axis), stride)]
        for group in groups:
            # A group that the axis' end cuts has its last cell as leader where the true one is missing.
            place = stride - 1 if causal else stride // 2
            leader = axis.index(group[min(place, len(group) - 1)])
            if causal:
                windows = [axis[max(0, leader - window + 1) : axis.index(cell) + 1] for cell in group]
            else:
                left = max(0, min(leader - window // 2, len(axis) - window))
                windows = [axis[left : left + window]] * len(group)
            for cell, keys in zip(group, windows, strict=True):
                sees[cell, keys] = True
    return sees


@st.composite
def neighborhoods(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    shape = draw(st.sampled_from([(12,), (17,), (3, 5), (8, 3), (4, 6), (6, 7), (2, 3, 4), (5, 2, 2), (2, 2, 2, 3)]))
    dilation = tuple(draw(st.integers(1, max(1, n // 2))) for n in shape)
    kernel = tuple(draw(st.integers(1, n // d)) for n, d in zip(shape, dilation, strict=True))
    stride = tuple(draw(st.integers(1, w)) for w in kernel)
    causal = tuple(draw(st.booleans()) for _ in shape)
    tile = tuple(draw(st.sampled_from([i for i in range(1, n + 1) if n % i == 0])) for n in shape)
    tile = draw(st.sampled_from([shape, tile]))
    options = {"kernel": kernel, "stride": stride, "is_causal": causal, "dilation": dilation, "tile": tile}
    return shape, options


@given(neighborhoods())
def test_every_option_is_natten_s_rule_along_its_axis(case):
    shape, options = case
    mask = mw.neighborhood(shape, **options)
    cells = sorted(
        itertools.product(*map(range, shape)),
        key=lambda c: ([i // t for i, t in zip(c, options["tile"], strict=True)], c),
    )
    n = len(cells)
    expected = np.ones((n, n), dtype=bool)
    for axis, size in enumerate(shape):
        along = seen_along(size, *(options[name][axis] for name in ("kernel", "stride", "is_causal", "dilation")))
        place = [cell[axis] for cell in cells]
        expected &= along[np.ix_(place, place)]
    assert np.array_equal(mask.bind(n).dense()[0, 0], expected)
    assert np.array_equal(mask.bind(2, n, q_start=n - 2).dense()[0, 0], expected[n - 2 :])
    assert mw.parse(mask.to_text(arrays="full")) == mask
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_defaults_are_the_plain_neighborhood():
    plain = mw.neighborhood((4, 6), 3)
    assert mw.neighborhood((4, 6), 3, stride=1, is_causal=False, dilation=1) == plain
    assert mw.neighborhood((4, 6), 3, stride=(1, 1), is_causal=(False, False), dilation=(1, 1)) == plain
    assert not mw.neighborhood((4, 6), 3, stride=2).bind(24).equals(plain.bind(24))


def test_a_causal_axis_is_a_window():
    assert mw.neighborhood(12, 5, is_causal=True).bind(12).equals(mw.sliding_window(5))
    assert mw.neighborhood(12, 4, dilation=3, is_causal=True).bind(12).equals(mw.causal() & mw.dilated(3, 3))


def test_queries_before_position_0_see_nothing():
    mask = mw.neighborhood((2, 3), 2, stride=2, is_causal=(True, False))
    assert not mask.bind(8, 6, q_start=-2).dense()[0, 0, :2].any()


def test_the_reason_names_the_options():
    mask = mw.neighborhood((4, 4), 2, is_causal=(True, False), stride=2)
    reason = mask.bind(16).explain(9, 3).reason
    assert "stride (2, 2)" in reason
    assert "is_causal (True, False)" in reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dilation": 3}, "a window of 3, 3 apart, on 8 cells"),
        ({"stride": 4}, "stride is at most its window"),
        ({"stride": (1, 2)}, "takes a stride for each of its 1 axes"),
        ({"is_causal": (True, False)}, "takes a flag for each of its 1 axes"),
        ({"dilation": 0}, "at least 1"),
    ],
)
def test_options_out_of_range(options, message: str):
    with pytest.raises(MaskError, match=message):
        mw.neighborhood(8, 3, **options)
