"""The columns of an Arrow table that a model sees, and one matrix made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runinference.errors import FeatureError
from runinference.hints import did_you_mean

__all__ = ["is_numeric", "matrix", "numeric_columns", "select_features"]


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type can be part of a matrix: numbers and booleans."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def numeric_columns(schema: pa.Schema) -> list[str]:
    """The names of the columns that can be part of a matrix, in order."""
    return [field.name for field in schema if is_numeric(field.type)]


def select_features(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns of these names, in this order, without nulls.

    Raises:
        FeatureError: an absent column, one that stands twice, or one with nulls.
    """
    present = table.column_names
    for name in names:
        if name not in present:
            hint = did_you_mean(name, present)
            raise FeatureError(
                f"the table has no column {name!r}; {hint}it has {', '.join(map(repr, present))}"
            )
        if present.count(name) > 1:
            raise FeatureError(f"the table has {present.count(name)} columns called {name!r}")
    selected = table.select(list(names))
    for name, column in zip(names, selected.columns, strict=True):
        if column.null_count:
            raise FeatureError(
                f"column {name!r} has {column.null_count} nulls in {len(column)} rows: fill or "
                "drop them, or leave the column out of the features"
            )
    return selected


def matrix(table: pa.Table, dtype: Any = None) -> np.ndarray[Any, Any]:
    """The columns side by side: ``[rows, columns]``, of ``dtype`` or the type that holds them all.

    A single fixed-size list column gives its lists as rows, without a copy where Arrow has them in
    one piece.

    Raises:
        FeatureError: a column that is not numeric.
    """
    if table.num_columns == 1 and pa.types.is_fixed_size_list(table.schema.field(0).type):
        column = table.column(0)
        # combine_chunks() copies a single chunk too
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        width = column.type.list_size
        values = column.flatten().to_numpy(zero_copy_only=False)
        rows: np.ndarray[Any, Any] = values.reshape(len(column), width)
        return rows.astype(dtype or rows.dtype, copy=False)
    for field in table.schema:
        if not is_numeric(field.type):
            raise FeatureError(
                f"column {field.name!r} is of type {field.type}, not numeric: leave it out of the "
                "features, or convert it"
            )
    arrays = [column.to_numpy() for column in table.columns]
    if dtype is None:
        dtype = np.result_type(*(array.dtype for array in arrays)) if arrays else np.float64
    made = np.empty((table.num_rows, len(arrays)), dtype=dtype)
    for position, array in enumerate(arrays):
        made[:, position] = array
    return made
