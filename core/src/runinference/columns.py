"""The columns of an Arrow table that a model sees, as arrays, as one matrix or as rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runinference.errors import FeatureError
from runinference.hints import did_you_mean, listed
from runinference.scratch import scratch

__all__ = ["array_of", "examples_of", "is_numeric", "matrix", "numeric_columns", "select_features"]

# Rows of a piece from which on putting all pieces together first is not worth a copy.
_LARGE_PIECE = 4096


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type can be part of a matrix: numbers and booleans."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def numeric_columns(schema: pa.Schema) -> list[str]:
    """The names of the columns that can be part of a matrix, in order."""
    return [field.name for field in schema if is_numeric(field.type)]


def select_features(
    table: pa.Table, names: Sequence[str], *, takes_nulls: bool = False
) -> pa.Table:
    """The columns of these names, in this order.

    Raises:
        FeatureError: an absent column, one that stands twice, or one with nulls where the model
            does not take them.
    """
    present = table.column_names
    for name in names:
        if name not in present:
            hint = did_you_mean(name, present)
            raise FeatureError(f"the table has no column {name!r}; {hint}it has {listed(present)}")
        if present.count(name) > 1:
            raise FeatureError(f"the table has {present.count(name)} columns called {name!r}")
    selected = table.select(list(names))
    if not takes_nulls:
        _refuse_nulls(selected)
    return selected


def _refuse_nulls(table: pa.Table) -> None:
    with_nulls = {
        name: column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.null_count
    }
    if not with_nulls:
        return
    counts = [f"{name!r} has {column.null_count}" for name, column in with_nulls.items()]
    error = FeatureError(
        f"column {' nulls, '.join(counts)} nulls in {len(table)} rows: fill or drop them, or leave "
        "the column out of the features"
    )
    masks = [column.is_null().to_numpy() for column in with_nulls.values()]
    error.positions = np.flatnonzero(np.logical_or.reduce(masks)).tolist()
    raise error


def array_of(column: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray[Any, Any]:
    """A column's values: ``[rows]`` of numbers, ``[rows, width, ...]`` of lists of one length.

    No copy where Arrow has the values in one piece and no nulls. Values of a dictionary-encoded
    column are looked up; a tensor column gives its tensors.

    Raises:
        FeatureError: values that are not numbers, or nulls within lists.
    """
    if isinstance(column, pa.ChunkedArray):
        column = _one_piece(column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column.type, pa.FixedShapeTensorType):
        tensors: np.ndarray[Any, Any] = column.to_numpy_ndarray()
        return tensors
    width = _width(column, name)
    if width is not None:
        inner = column.flatten()
        if inner.null_count:
            raise FeatureError(f"the lists of column {name!r} hold {inner.null_count} nulls")
        values = array_of(inner, name)
        return values.reshape(len(column), width, *values.shape[1:])
    if not is_numeric(column.type):
        raise FeatureError(
            f"column {name!r} is of type {column.type}, not numeric: leave it out of the "
            "features, or convert it"
        )
    numbers: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return numbers


def _width(column: pa.Array, name: str) -> int | None:
    """How long each list of a column is; None where it has none.

    Raises:
        FeatureError: lists of different lengths.
    """
    if pa.types.is_fixed_size_list(column.type):
        return int(column.type.list_size)
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return None
    lengths = np.unique(np.diff(column.offsets.to_numpy()))
    if len(lengths) > 1:
        raise FeatureError(
            f"the lists of column {name!r} have different lengths, such as {lengths[0]} and "
            f"{lengths[-1]}: a model needs them of one length"
        )
    return int(lengths[0]) if len(lengths) else 0


def matrix(table: pa.Table, dtype: Any = None) -> np.ndarray[Any, Any]:
    """Columns of numbers side by side: ``[rows, columns]``, of ``dtype`` or what holds them all.

    Its memory is another matrix's once nothing uses it or a part of it any more.

    A single column of vectors or tensors gives those, ``[rows, width, ...]``, without a copy where
    Arrow has them in one piece.

    Raises:
        FeatureError: a column that is not numeric, or vectors beside other columns.
    """
    columns = [_pieces(c, n) for n, c in zip(table.column_names, table.columns, strict=True)]
    if len(columns) == 1 and columns[0][0].ndim > 1:
        [[vectors]] = columns
        return vectors.astype(dtype or vectors.dtype, copy=False)
    for name, pieces in zip(table.column_names, columns, strict=True):
        if pieces[0].ndim > 1:
            raise FeatureError(
                f"column {name!r} holds vectors, which stand alone: name it as the only feature"
            )
    if dtype is None:
        dtypes = [piece.dtype for pieces in columns for piece in pieces]
        dtype = np.result_type(*dtypes) if dtypes else np.float64
    made = scratch((table.num_rows, len(columns)), dtype)
    for position, pieces in enumerate(columns):
        start = 0
        for piece in pieces:
            made[start : start + len(piece), position] = piece
            start += len(piece)
    return made


def _pieces(column: pa.ChunkedArray, name: str) -> list[np.ndarray[Any, Any]]:
    """A column's values, in as many arrays as Arrow has them in, unless those are small."""
    is_in_few = len(column) >= column.num_chunks * _LARGE_PIECE
    if column.num_chunks > 1 and is_in_few and is_numeric(column.type):
        return [array_of(chunk, name) for chunk in column.chunks]
    return [array_of(column, name)]


def examples_of(table: pa.Table) -> list[Any]:
    """The rows as Python objects: a single column's values, or dicts of several columns' values.

    Lists of numbers are arrays; nulls are None.
    """
    names = table.column_names
    columns = [_values_of(c, n) for n, c in zip(names, table.columns, strict=True)]
    if len(columns) == 1:
        return columns[0]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values_of(column: pa.ChunkedArray, name: str) -> list[Any]:
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if column.null_count == 0 and is_list and is_numeric(kind.value_type):
        lists = _one_piece(column)
        numbers = lists.values.to_numpy(zero_copy_only=False)
        return [numbers[start:end] for start, end in itertools.pairwise(lists.offsets.tolist())]
    is_vector = pa.types.is_fixed_size_list(kind) or isinstance(kind, pa.FixedShapeTensorType)
    if column.null_count == 0 and is_vector:
        return list(array_of(column, name))
    values: list[Any] = column.to_pylist()
    return values


def _one_piece(column: pa.ChunkedArray) -> pa.Array:
    # combine_chunks() copies a single chunk too
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
