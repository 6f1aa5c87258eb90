"""What stays out of compiled graphs, and what that costs a process that compiles nothing."""

import subprocess
import sys

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from maskwork.lower import _memo, outside_graph

#: The library's every part, a call of attention, and a loss.
EAGER = """
import sys, torch, maskwork as mw
import maskwork.decoding, maskwork.models, maskwork.proof, maskwork.training
q = torch.ones(1, 2, 8, 4)
mw.attention(q, q, q, mw.causal() & mw.sliding_window(3))
mw.masked_cross_entropy(torch.ones(1, 4, 5), torch.zeros(1, 4, dtype=torch.long))
print("torch._dynamo" in sys.modules)
"""


def test_a_process_that_compiles_nothing_loads_no_compiler():
    done = subprocess.run([sys.executable, "-c", EAGER], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize("as_this_torch_says_it", [True, False])
def test_it_is_called_and_not_traced(as_this_torch_says_it: bool, monkeypatch: pytest.MonkeyPatch):
    if not as_this_torch_says_it:
        monkeypatch.setattr(_memo, "_skip_tracing", lambda code: False)
    traced: list[bool] = []

    @outside_graph
    def shifted(x: torch.Tensor, by: int) -> torch.Tensor:
        """A docstring."""
        traced.append(torch.compiler.is_compiling())
        return torch.from_numpy(x.numpy() + by)

    def function(x: torch.Tensor, by: int) -> torch.Tensor:
        return shifted(x * 2, by) * 3

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(function, backend=counter, dynamic=True)
    x = torch.arange(4.0)
    for by in range(2, 12):
        assert torch.equal(compiled(x, by), function(x, by))
    assert shifted.__doc__ == "A docstring."
    assert not any(traced)
    assert counter.frame_count == 2  # before it and after it, whatever it is called with
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"torch\.compiler\.disable"):
        torch.compile(function, backend="eager", fullgraph=True)(x, 2)
