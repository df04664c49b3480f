"""The protocol's tensors: their types, and their values as raw bytes."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from runinference.errors import ExampleError, OutputStructureError

__all__ = [
    "Tensor",
    "TensorSpec",
    "datatype_of",
    "dtype_of",
    "from_raw",
    "from_values",
    "texts",
    "to_raw",
]

_DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_DATATYPES = {np.dtype(dtype): datatype for datatype, dtype in _DTYPES.items()}
_LENGTH = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """What the server says of an input: the length of an axis is -1 where it may be any."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A named array; one of texts or bytes has the dtype object."""

    name: str
    datatype: str
    array: np.ndarray[Any, Any]


def dtype_of(datatype: str) -> np.dtype[Any] | None:
    """numpy's type of a tensor of numbers; None for texts, and for what numpy has no type for."""
    dtype = _DTYPES.get(datatype)
    return None if dtype is None else np.dtype(dtype)


def datatype_of(array: np.ndarray[Any, Any]) -> str:
    """The protocol's name of an array's type.

    Raises:
        ExampleError: the protocol has none.
    """
    if array.dtype.kind in "US" or (
        array.dtype.kind == "O" and all(isinstance(value, str | bytes) for value in array.flat)
    ):
        return "BYTES"
    datatype = _DATATYPES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        held = str(array.dtype)
        if array.dtype.kind == "O":
            held = " and ".join(sorted({type(value).__name__ for value in array.flat}))
        raise ExampleError(
            f"the examples hold values of {held}, which the Open Inference Protocol has no tensor "
            f"for: give numbers of one type ({', '.join(_DTYPES)}), or texts"
        )
    return datatype


def to_raw(tensor: Tensor) -> bytes:
    """The values in row-major order, little-endian; texts as UTF-8, each behind its length."""
    dtype = dtype_of(tensor.datatype)
    if dtype is not None:
        return np.ascontiguousarray(tensor.array, dtype=dtype).tobytes()
    encoded = [v.encode() if isinstance(v, str) else bytes(v) for v in tensor.array.flat]
    return b"".join(part for value in encoded for part in (_LENGTH.pack(len(value)), value))


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> np.ndarray[Any, Any]:
    """The array that :func:`to_raw` made bytes of.

    Raises:
        OutputStructureError: an unknown type, or as many bytes as the shape does not have.
    """
    if datatype == "BYTES":
        values = list(_split(name, raw))
        return from_values(name, datatype, shape, values)
    dtype = dtype_of(datatype)
    if dtype is None:
        raise _unknown(name, datatype)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise OutputStructureError(
            f"the server answered output {name!r} with {len(raw)} bytes, while {datatype} of shape "
            f"{list(shape)} has {math.prod(shape) * dtype.itemsize}"
        )
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def from_values(
    name: str, datatype: str, shape: Sequence[int], values: Any
) -> np.ndarray[Any, Any]:
    """The array of values in row-major order, flat or nested.

    Raises:
        OutputStructureError: an unknown type, or as many values as the shape does not have.
    """
    dtype = dtype_of(datatype)
    if dtype is None and datatype != "BYTES":
        raise _unknown(name, datatype)
    try:
        if dtype is not None:
            array = np.asarray(values, dtype=dtype).reshape(-1)
        else:
            array = texts(np.asarray(values, dtype=object).reshape(-1))
        return array.reshape(shape)
    except (TypeError, ValueError) as error:
        raise OutputStructureError(
            f"the server answered output {name!r} with values that are not {datatype} of shape "
            f"{list(shape)}: {error}"
        ) from error


def texts(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bytes as texts, where all of them are UTF-8."""
    try:
        decoded = [v.decode() if isinstance(v, bytes) else str(v) for v in values.flat]
    except UnicodeDecodeError:
        return values
    array = np.empty(len(decoded), dtype=object)
    array[:] = decoded
    return array.reshape(values.shape)


def _split(name: str, raw: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        end = start + _LENGTH.size
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, start)[0]
        if end > len(raw):
            raise OutputStructureError(
                f"the server answered output {name!r} with texts that end too early: byte {end} of "
                f"{len(raw)}"
            )
        yield raw[start + _LENGTH.size : end]
        start = end


def _unknown(name: str, datatype: str) -> OutputStructureError:
    return OutputStructureError(
        f"the server answered output {name!r} as {datatype!r}, which numpy has no type for; known: "
        f"{', '.join(_DTYPES)}, BYTES; say outputs=[...] for the others"
    )
