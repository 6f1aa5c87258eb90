"""`plain_torch`: torch as if no mode or transform of the caller's were active."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def plain_torch() -> Generator[None]:
    """Run torch without the caller's modes and transforms: what is made inside may be stored for any later use.

    Off are inference mode (autograd could never save the tensor), fake tensors and other dispatch modes, default
    devices and other modes of functions, and the transforms of `torch.func`. This loads torch.

    >>> import torch
    >>> with torch.device("meta"), plain_torch():
    ...     torch.ones(1).device
    device(type='cpu')
    """
    torch: Any = import_module("torch")
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if torch._C._len_torch_dispatch_stack():
            stack.enter_context(import_module("torch.utils._python_dispatch")._disable_current_modes())
        stack.enter_context(torch._C.DisableTorchFunction())
        if torch._C._functorch.peek_interpreter_stack() is not None:
            stack.enter_context(import_module("torch._functorch.pyfunctorch").temporarily_clear_interpreter_stack())
        yield
