"""Query tiles against exactly the keys that they see, forward and backward, on the CPU.

mask      which rows see which keys
  |       cut.py         rows that see nearly the same keys become a tile; large rectangles become segments
  |       schedule.py    tiles and segments written as one int32 tensor, and read again
attend.py                a checked call: seed, bias, schedule
  |       op.py          the operators that torch.compile sees, tensors in and out
run.py                   a schedule, forward and backward
  |       native.py      all of it in one call of compiled C (csrc/, built by build.py), where a compiler is there
  |       tile.py        else tile by tile in PyTorch's operators: batches.py, lanes.py, masks.py, bias.py
  |       segment.py     and PyTorch's fused kernel for the segments
output, log-sum-exp, gradients
"""

from .attend import CELLS, TILED
from .schedule import to_tiles

__all__ = ["CELLS", "TILED", "to_tiles"]
