"""Tensors of the columns of an Arrow table, without a Python object per row.

Numbers without nulls are viewed where they lie in the table's memory, which nobody may write to.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.utils.dlpack

from runinference.columns import is_numeric, matrix
from runinference.errors import FeatureError

__all__ = ["column_rows", "column_tensor", "is_borrowed", "is_list", "matrix_tensor", "model_dtype"]

# Of the unsigned types, torch computes with uint8 alone.
_SIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}


def model_dtype(model: torch.nn.Module) -> torch.dtype:
    """Of the model's first parameter or buffer of a floating-point type; float32 without one."""
    tensor: torch.Tensor
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def matrix_tensor(table: pa.Table, dtype: torch.dtype) -> torch.Tensor:
    """Numeric columns side by side, ``[rows, columns]``.

    Raises:
        FeatureError: a column that is not numeric.
    """
    # numpy has no bfloat16
    kind = "float32" if dtype is torch.bfloat16 else str(dtype).removeprefix("torch.")
    return torch.from_numpy(matrix(table, kind)).to(dtype)


def column_tensor(table: pa.Table, name: str, dtype: torch.dtype) -> torch.Tensor:
    """One column: ``[rows]``, or ``[rows, width]`` (and further axes) for lists of one length.

    Floating-point numbers become ``dtype``; whole numbers and booleans stay what they are, unsigned
    ones of more than 8 bits in the next wider signed type.

    Raises:
        FeatureError: not numeric, nulls within lists, or lists of different lengths.
    """
    values, shape = _flat(_one_piece(table.column(name)), name)
    for axis, size in enumerate(shape):
        if not isinstance(size, int):
            differs = int(np.flatnonzero(size != size[0])[0])
            raise FeatureError(
                f"the lists of column {name!r} have different lengths, such as {size[0]} and "
                f"{size[differs]}{'' if axis == 1 else ' within a row'}: "
                "say padding=Padding(...) to fill them up to the longest"
            )
    return _converted(values.reshape([int(size) for size in shape]), dtype)


def column_rows(table: pa.Table, name: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """One column as a tensor per row, which may differ in the length of their first axis.

    Raises:
        FeatureError: not numeric, nulls within lists, or lists in lists of different lengths.
    """
    values, shape = _flat(_one_piece(table.column(name)), name)
    if len(shape) < 2 or isinstance(shape[1], int):
        return list(column_tensor(table, name, dtype).unbind(0))
    inner = [size for size in shape[2:] if isinstance(size, int)]
    if len(inner) != len(shape) - 2:
        raise FeatureError(
            f"column {name!r} has lists in lists of different lengths, which make no tensors: "
            "only the outermost lists of a row may differ in length"
        )
    rows = _converted(values.reshape([int(shape[1].sum()), *inner]), dtype)
    return list(torch.split(rows, shape[1].tolist()))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds more than one number per row."""
    types = pa.types
    return (
        types.is_fixed_size_list(kind)
        or types.is_list(kind)
        or types.is_large_list(kind)
        or isinstance(kind, pa.FixedShapeTensorType)
    )


def is_borrowed(tensor: torch.Tensor, table: pa.Table) -> bool:
    """Whether a tensor lies in the memory of a table's column."""
    at = tensor.data_ptr()
    return any(
        buffer.address <= at < buffer.address + buffer.size
        for column in table.columns
        for chunk in column.chunks
        for buffer in (chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk).buffers()
        if buffer is not None
    )


def _one_piece(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _flat(array: pa.Array, name: str) -> tuple[torch.Tensor, list[Any]]:
    """The numbers of a column, and its sizes axis by axis: an array of them where they differ."""
    shape: list[Any] = [len(array)]
    while is_list(array.type) or pa.types.is_dictionary(array.type):
        kind = array.type
        if array.null_count:
            raise FeatureError(f"column {name!r} has {array.null_count} nulls within its lists")
        if pa.types.is_dictionary(kind):
            array = array.dictionary_decode()
            continue
        if isinstance(kind, pa.FixedShapeTensorType):
            shape += kind.shape
            array = array.storage.flatten()
            continue
        if pa.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
        else:
            sizes = np.diff(array.offsets.to_numpy())
            is_even = len(sizes) == 0 or bool((sizes == sizes[0]).all())
            shape.append(int(sizes[:1].sum()) if is_even else sizes)
        array = array.flatten()
    if not is_numeric(array.type):
        raise FeatureError(
            f"column {name!r} is of {array.type}, not of numbers: leave it out of the features, or "
            "convert it"
        )
    if array.null_count:
        raise FeatureError(f"column {name!r} has {array.null_count} nulls within its lists")
    if pa.types.is_boolean(array.type):  # bits in Arrow, bytes in torch
        return torch.from_numpy(array.to_numpy(zero_copy_only=False)), shape
    viewed: torch.Tensor = torch.utils.dlpack.from_dlpack(array)
    return viewed, shape


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if tensor.is_floating_point():
        return tensor.to(dtype)
    return tensor.to(_SIGNED.get(tensor.dtype, tensor.dtype))
