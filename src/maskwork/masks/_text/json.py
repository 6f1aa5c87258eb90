"""Masks as JSON, arrays included: `{"maskwork": 1, "mask": {"name": …, "args": […], "named": {…}}}`.

A value is an int, a string, null, a mask, a list of values, or an array as `{"array": dtype, "shape": […], "data": …}`:
base64 of little-endian int8 to int64 in row-major order, or of dtype "bits" for bool, eight a byte, lowest bit first.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...errors import MaskError
from .._arrays import Bools, Ints
from .registry import MAKERS, OPERATORS, make
from .spec import Expression

if TYPE_CHECKING:
    from .._mask import Mask

VERSION = 1
# Limits for hostile input, far below what fills the memory or Python's stack.
MAX_JSON = 1 << 28
MAX_NESTED = 100
#: An array of at most this many numbers is a plain list.
_LISTED = 16
_DTYPES = ("int8", "int16", "int32", "int64")


def write_json(mask: Mask) -> str:
    """Return a mask as JSON, as `Mask.to_json` says."""
    document = {"maskwork": VERSION, "mask": _encode(mask, 0)}
    return json.dumps(document, separators=(",", ":"))


def _encode(value: Any, depth: int) -> Any:
    """Return the JSON value of an argument of a `Spec`, where `depth` counts masks one inside another."""
    if depth > MAX_NESTED:
        raise MaskError(f"a mask in JSON may be nested {MAX_NESTED} deep, got more; pickle it instead")
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, np.ndarray):
        return _encode_array(cast("Ints | Bools", value))
    if isinstance(value, tuple):
        return [_encode(item, depth) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, Expression):
        spec = value._spec()
        if spec.name not in MAKERS and spec.name not in OPERATORS:
            raise MaskError(f"JSON carries masks of known atoms, got {value!r}; pickle it instead")
        node: dict[str, Any] = {"name": spec.name}
        if spec.args:
            node["args"] = [_encode(item, depth + 1) for item in spec.args]
        if spec.keywords:
            node["named"] = {name: _encode(item, depth + 1) for name, item in spec.keywords.items()}
        return node
    raise MaskError(
        f"JSON cannot carry {value!r:.60} ({type(value).__name__}), which the mask holds; pickle it instead"
    )


def _encode_array(array: Ints | Bools) -> Any:
    """Return a short array as lists, a long one as base64 of the narrowest dtype that holds its numbers."""
    if array.ndim < 3 and 0 < array.size <= _LISTED:
        return array.tolist()
    if array.dtype == np.bool_:
        dtype, data = "bits", np.packbits(array, bitorder="little").tobytes()
    else:
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        dtype = next(name for name in _DTYPES if np.iinfo(name).min <= low and high <= np.iinfo(name).max)
        data = array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return {"array": dtype, "shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}


def read_json(text: str | bytes) -> Mask:
    """Read the mask that `write_json` wrote, as `Mask.from_json` says."""
    if not isinstance(text, (str, bytes)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MaskError(f"from_json takes the text that to_json wrote, got {type(text).__name__}")
    if len(text) > MAX_JSON:
        raise MaskError(f"a mask in JSON may have {MAX_JSON} characters, got {len(text)}; pickle it instead")
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or set(cast("dict[str, Any]", document)) != {"maskwork", "mask"}:
            raise MaskError('a mask in JSON is {"maskwork": 1, "mask": …}, got another document; write it with to_json')
        document = cast("dict[str, Any]", document)
        if document["maskwork"] != VERSION or type(document["maskwork"]) is not int:
            raise MaskError(
                f"this version reads masks in JSON of version {VERSION}, got {document['maskwork']!r:.40}; write them "
                "again, or use the version of maskwork that wrote them"
            )
        mask = _decode(document["mask"], 0)
    # json.loads itself recurses into nested lists, before `_decode` can count them.
    except RecursionError:
        raise MaskError("a mask in JSON is nested deeper than Python's stack allows; write it with to_json") from None
    except ValueError as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f"a mask in JSON must be JSON, got {error}; write it with to_json") from None
    if not isinstance(mask, Expression):
        raise MaskError(f"a mask in JSON must be a mask, got {mask!r:.40}; write it with to_json")
    return cast("Mask", mask)


def _decode(value: Any, depth: int) -> Any:
    """Return the argument that `_encode` wrote; a node with a name makes a mask by the registry."""
    if depth > MAX_NESTED:
        raise MaskError(f"a mask in JSON may be nested {MAX_NESTED} deep, got more; write it with to_json")
    if isinstance(value, list):
        # A list is no deeper than its mask, as in `_encode`.
        return [_decode(item, depth) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    node = cast("dict[str, Any]", value)
    if "array" in node:
        return _decode_array(node)
    name, args, keywords = node.get("name"), node.get("args", []), node.get("named", {})
    has_extra = not set(node) <= {"name", "args", "named"}
    if has_extra or not isinstance(name, str) or not isinstance(args, list) or not isinstance(keywords, dict):
        raise MaskError('a mask in JSON is {"name": text, "args": list, "named": object}, got another shape')
    return make(
        name,
        [_decode(item, depth + 1) for item in cast("list[Any]", args)],
        {key: _decode(item, depth + 1) for key, item in cast("dict[str, Any]", keywords).items()},
    )


def _decode_array(node: dict[str, Any]) -> Ints | Bools:
    """Return the array of a node, after checking that its bytes fill exactly its shape."""
    dtype, shape, data = node["array"], node.get("shape"), node.get("data")
    if set(node) != {"array", "shape", "data"} or dtype not in (*_DTYPES, "bits") or not isinstance(data, str):
        raise MaskError('an array in JSON is {"array": dtype, "shape": list, "data": base64}, got another shape')
    if not isinstance(shape, list) or len(cast("list[Any]", shape)) > 4:
        raise MaskError(f"an array in JSON has at most 4 dimensions, got shape {shape!r:.60}")
    sizes = cast("list[Any]", shape)
    if any(type(size) is not int or not 0 <= size < 2**31 for size in sizes):
        raise MaskError(f"an array in JSON has sizes in [0, 2**31), got shape {shape!r:.60}")
    # Text that is not base64 raises a ValueError, which `read_json` turns into ours.
    raw = base64.b64decode(data, validate=True)
    count = math.prod(sizes)
    size = -(-count // 8) if dtype == "bits" else count * np.dtype(dtype).itemsize
    if len(raw) != size:
        raise MaskError(f"an array in JSON holds its shape, {sizes} of {dtype} take {size} bytes, got {len(raw)}")
    if dtype == "bits":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count, bitorder="little").astype(bool).reshape(sizes)
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(sizes).astype(np.int64)
