"""Other libraries' masks, converted at the border: cumulative lengths, inverted masks and masks that are added."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..._shared.text import short_repr
from ...errors import MaskError
from .._arrays import Bools, as_array, as_bools, as_int, as_ints
from .._mask import Mask
from .._text.registry import Form, atom
from .custom import from_dense
from .documents import document
from .positions import causal, full
from .real import real

#: A torch.Tensor: this package imports NumPy only, also to check types.
Tensor: TypeAlias = Any

#: Numbers at most this low block a cell: bfloat16's lowest, and so float32's and float64's, and -inf. transformers
#: fills masks with the lowest number of the model's dtype, and a mask may be converted afterwards.
_LOWEST = -3.3895313892515355e38
_LOWEST_OF_FLOAT16 = -65504.0


@atom(Form("from_cu_seqlens(cu)", "", "`document(lengths)`, of flash-attention's cumulative lengths"))
def from_cu_seqlens(cu: Any) -> Mask:
    """Convert flash-attention's cumulative lengths of packed sequences to `document(lengths)`.

    The result puts no condition on order: flash-attention's `causal=True` is `causal() & from_cu_seqlens(cu)`.

    Args:
        cu: int `(documents + 1,)`: 0, then the end of each document. A CUDA tensor costs one copy to the host.

    Raises:
        MaskError: `cu` does not start at 0, or decreases.

    >>> import maskwork as mw
    >>> mw.from_cu_seqlens([0, 2, 5])
    document([2, 3])
    """
    ends = as_ints(cu, "from_cu_seqlens(cu)", ndims=(1,))
    if not len(ends) or ends[0] != 0:
        fault = f"{ends[0]}" if len(ends) else "no entries"
        raise MaskError(f"cumulative lengths start at 0, got {fault}; prepend a 0, or pass lengths to mw.document")
    # ends      0   2       5      the cumulated lengths
    # lengths     2     3
    lengths = np.diff(ends)
    if (lengths < 0).any():
        before = int(np.flatnonzero(lengths < 0)[0])
        raise MaskError(
            f"cumulative lengths never decrease, got {ends[before + 1]} at [{before + 1}] after {ends[before]}; pass "
            "lengths that are not cumulative to mw.document"
        )
    return document(lengths)


@atom(Form("from_key_padding_mask(m)", "", "`real(~m)`, of PyTorch's mask, where True means *ignore*"))
def from_key_padding_mask(m: Any) -> Mask:
    """Convert PyTorch's `key_padding_mask`, where True means *ignore*, to `real(~m)`.

    Args:
        m: `(K,)` or `(B, K)`: bool or the integers 0 and 1, True at padding; or floating point, -inf (or the dtype's
            lowest number) at padding and 0 elsewhere. For Hugging Face's `attention_mask`, where 1 means a token, use
            `real`.

    Raises:
        MaskError: another shape, or other numbers. `nn.MultiheadAttention` adds a floating point mask to the scores:
            `from_mha(key_padding_mask=m)` returns the numbers that are neither 0 nor the lowest as a bias.

    >>> import maskwork as mw
    >>> mw.from_key_padding_mask([False, False, True])
    real([1, 1, 0])
    >>> mw.from_key_padding_mask([0.0, 0.0, float("-inf")])
    real([1, 1, 0])
    """
    name = "from_key_padding_mask(m)"
    array, is_float = _numbers(m, name, (1, 2))
    if not is_float:
        return real(~as_bools(m, name, ndims=(1, 2)))
    blocked, other = _split(array, name, m)
    if other is not None:
        raise MaskError(
            f"{name} takes floating point marks of 0 and -inf, got {other}, which PyTorch adds to the scores; pass m "
            "to mw.from_mha(key_padding_mask=m), which returns a bias too, or pass bool marks, True = ignore"
        )
    return real(~blocked)


def from_additive(tensor: Any) -> tuple[Mask, Tensor | None]:
    """Convert a mask that is added to the scores: its -inf are the mask, its other numbers are the bias.

    Args:
        tensor: floating point, `(Q, K)`, `(B, Q, K)` or `(B, H, Q, K)`: a list, an array or a tensor. Row `q` and
            column `k` are absolute positions, as in `from_dense`. A `scaled_dot_product_attention(attn_mask)` of three
            dimensions is `(H, Q, K)`: pass `attn_mask[None]`. Of one row for all queries, `(B, 1, 1, K)`, pass
            `tensor[:, 0, 0] == 0` to `real`.

    Returns:
        mask: `from_dense` of the cells that are not -inf; `full()` where there is no -inf. The lowest number of the
            tensor's dtype, which transformers' `"eager"` masks hold, and the lowest of float32 and bfloat16 count as
            -inf.
        bias: the tensor with 0 in the place of -inf, broadcastable to `(B, H, Q, K)`: `mw.attention(bias=…)`. None
            where all its numbers are 0 and it requires no gradient. Gradients flow to the tensor.

    Raises:
        MaskError: another shape, bool or integers (see `from_dense`), NaN, or +inf.

    A row of the lowest number alone sees nothing here: the output is 0. Where the number is added, it sees every key.

    | library | its mask |
    | --- | --- |
    | `scaled_dot_product_attention(attn_mask)` | floating point |
    | transformers, `"eager"` | 4-D, 0 and the lowest number |
    | `nn.MultiheadAttention` | see `from_mha` |
    | T5's, ALiBi's and Swin's bias | numbers, -inf where a key is hidden |

    >>> import torch, maskwork as mw
    >>> mask, bias = mw.from_additive(torch.tensor([[0.0, float("-inf")], [0.5, 0.0]]))
    >>> mask
    from_dense([[1, 0], [1, 1]])
    >>> bias
    tensor([[0.0000, 0.0000],
            [0.5000, 0.0000]])
    """
    name = "from_additive(tensor)"
    array, is_float = _numbers(tensor, name, (2, 3, 4))
    if not is_float:
        raise MaskError(
            f"from_additive takes numbers to be added to the scores, got dtype {array.dtype}; pass bool or 0/1 marks "
            "to mw.from_dense, True = may attend"
        )
    blocked, other = _split(array, name, tensor)
    mask = from_dense(~blocked) if blocked.any() else full()
    bias = _bias(tensor, blocked) if other is not None or getattr(tensor, "requires_grad", False) else None
    return mask, bias if bias is None or bias.ndim != 3 else bias[:, None]


def from_mha(
    attn_mask: Any = None, key_padding_mask: Any = None, *, num_heads: int | None = None, is_causal: bool = False
) -> tuple[Mask, Tensor | None]:
    """Convert the masks of `nn.MultiheadAttention` and `nn.Transformer*`: `mw.attention(q, k, v, mask, bias=bias)`.

    Args:
        attn_mask: `(Q, K)` or `(B * H, Q, K)`. Of bool, True means *ignore*; floating point numbers are added to the
            scores, see `from_additive`.
        key_padding_mask: `(K,)` or `(B, K)`. Of bool, True means *ignore*; floating point numbers are added to the
            scores of their key.
        num_heads: the module's `num_heads`, which an `attn_mask` of three dimensions needs.
        is_causal: the module's hint that `attn_mask` is the causal mask. The hint is checked, and the mask is then
            `causal()`, which costs less than the same cells of `from_dense`.

    Returns:
        mask: `from_dense` of the cells, `&` `real` of the keys, or what there is of both; `full()` of neither. A mask
            with `attn_mask` is bound with `q_start=0`: row 0 is the first query, also where `Q != K`.
        bias: the numbers that are neither 0 nor -inf, broadcastable to `(B, H, Q, K)`, or None.

    Raises:
        MaskError: shapes or dtypes that the module does not take, `num_heads` missing, or a wrong hint.

    A row that sees no key is 0 here and NaN in `nn.MultiheadAttention`. In inference, the fused path of
    `nn.TransformerEncoderLayer` reads every number but 0 as *ignore*; the module itself and this function add it.

    >>> import torch, maskwork as mw
    >>> mask, bias = mw.from_mha(torch.ones(3, 3, dtype=torch.bool).triu(1), torch.tensor([[False, False, True]]))
    >>> bool(mask.bind(3).equals(mw.causal() & mw.padding([2])))
    True
    >>> print(bias)
    None
    >>> mw.from_mha(torch.nn.Transformer.generate_square_subsequent_mask(3), is_causal=True)
    (causal, None)
    """
    masks: list[Mask] = [causal()] if is_causal else []
    biases: list[Tensor] = []
    if attn_mask is not None:
        mask, bias = _of_attn_mask(attn_mask, num_heads)
        if is_causal:
            _check_hint(mask, attn_mask, bias)
        else:
            masks.append(mask)
        biases += [] if bias is None else [bias]
    if key_padding_mask is not None:
        mask, bias = _of_key_padding_mask(key_padding_mask)
        masks.append(mask)
        biases += [] if bias is None else [bias]
    mask = full()
    for term in masks:
        mask &= term
    return mask, sum(biases[1:], biases[0]) if biases else None


def _of_attn_mask(attn_mask: Any, num_heads: int | None) -> tuple[Mask, Tensor | None]:
    """Return mask and bias of `nn.MultiheadAttention`'s `attn_mask`."""
    name = "from_mha(attn_mask)"
    array, is_float = _numbers(attn_mask, name, (2, 3))
    if not is_float and array.dtype != np.bool_:
        raise MaskError(f"{name} is bool (True = ignore) or floating point, got dtype {array.dtype}; pass m.bool()")
    if array.ndim == 3:
        if num_heads is None:
            raise MaskError(
                f"an attn_mask of three dimensions is (B * H, Q, K), got shape {array.shape} without num_heads; pass "
                "the module's num_heads"
            )
        heads = as_int(num_heads, "from_mha(num_heads)", minimum=1)
        if not len(array) or len(array) % heads:
            raise MaskError(
                f"an attn_mask of three dimensions is (B * H, Q, K), got shape {array.shape} for {heads} heads; repeat "
                "the mask of each batch row once per head"
            )
        source = attn_mask if hasattr(attn_mask, "detach") else array
        attn_mask = source.reshape(len(array) // heads, heads, *array.shape[1:])
    if is_float:
        return from_additive(attn_mask)
    blocked = as_array(attn_mask, name, "flags", (2, 4))
    return (from_dense(~blocked) if blocked.any() else full()), None


def _of_key_padding_mask(key_padding_mask: Any) -> tuple[Mask, Tensor | None]:
    """Return mask and bias of `nn.MultiheadAttention`'s `key_padding_mask`."""
    name = "from_mha(key_padding_mask)"
    array, is_float = _numbers(key_padding_mask, name, (1, 2))
    if not is_float:
        return from_key_padding_mask(key_padding_mask), None
    blocked, other = _split(array, name, key_padding_mask)
    if other is None and not getattr(key_padding_mask, "requires_grad", False):
        return real(~blocked), None
    bias = _bias(key_padding_mask, blocked)
    return real(~blocked), bias[:, None, None] if bias.ndim == 2 else bias[None, None, None]


def _check_hint(mask: Mask, attn_mask: Any, bias: Tensor | None) -> None:
    """Raise unless `mask` is `causal()` on the grid of `attn_mask`, and nothing is added."""
    rows, keys = np.shape(attn_mask)[-2:]
    verdict = mask.bind(rows, keys, q_start=0).equals(causal())
    if not verdict or bias is not None:
        raise MaskError(
            "is_causal=True says that attn_mask is the causal mask and nothing else, got "
            f"{f'another cell at {verdict.counterexample}' if not verdict else 'other numbers than 0 and -inf'}; leave "
            "is_causal out"
        )


def _numbers(value: Any, name: str, ndims: tuple[int, ...]) -> tuple[npt.NDArray[Any], bool]:
    """Return the numbers as an array, and whether they are floating point."""
    if hasattr(value, "detach"):
        value = value.detach()
        # NumPy has no bfloat16: float32 holds the same numbers.
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = as_array(value, name, "numbers", ndims)
    return array, array.dtype.kind == "f"


def _split(array: npt.NDArray[Any], name: str, value: Any) -> tuple[Bools, Any]:
    """Split the numbers: those that block, and the first other number that is not 0, None where there is none."""
    lowest = _LOWEST_OF_FLOAT16 if array.dtype == np.float16 else _LOWEST
    blocked = array <= lowest
    kept = array[~blocked]
    if not np.isfinite(kept).all():
        raise MaskError(
            f"{name} holds finite numbers and -inf, got {kept[~np.isfinite(kept)][0]} in {short_repr(value)}; -inf "
            "hides a key, and a row of NaN is one that saw nothing"
        )
    other = kept[kept != 0]
    return blocked, float(other[0]) if len(other) else None


def _bias(value: Any, blocked: Bools) -> Tensor:
    """Return the numbers with 0 where they block, as a tensor with the gradient of `value`."""
    # A mask needs torch only where there is a bias.
    torch: Any = import_module("torch")
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
    return tensor.masked_fill(torch.from_numpy(blocked).to(tensor.device), 0.0)
