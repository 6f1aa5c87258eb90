"""`permutation`: a shuffle that is the same on every machine and in every version of NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def permutation(seed: np.random.SeedSequence, length: int) -> npt.NDArray[np.int64]:
    """Return a random order of `length` items: int64 `(length,)`.

    >>> permutation(np.random.SeedSequence(0), 5).tolist()
    [3, 2, 1, 0, 4]
    """
    # The bits of PCG64 are the same in every NumPy; `Generator.permutation` may change between versions.
    return np.argsort(np.random.PCG64(seed).random_raw(length), kind="stable")
