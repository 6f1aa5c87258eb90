"""Chi-squared tests without SciPy: whether counts fit the probabilities of a definition."""

import numpy as np
import torch


def chi_squared_p(observed, expected):
    """Return the p-value of counts against expected counts of the same sum."""
    observed, expected = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    assert np.isclose(observed.sum(), expected.sum())
    assert expected.min() >= 5, "the approximation needs 5 expected counts in each class"
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(observed) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2)))


def same_distribution_p(first, second):
    """Return the p-value of two rows of counts, under one distribution for both."""
    table = np.array([first, second], dtype=float)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    freedom = torch.tensor((table.shape[1] - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2)))
