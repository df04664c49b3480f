"""From examples, or the columns of a table, to the tensors of one request."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runinference.columns import array_of, is_numeric, matrix
from runinference.errors import ExampleError, FeatureError
from runinference.hints import listed
from runinference.stacking import stack
from runinference_open_inference.tensors import Tensor, TensorSpec, datatype_of, dtype_of

__all__ = ["Request", "request_of_examples", "request_of_table"]

# Where the server does not tell the name of its only input, any will do.
_ONLY_INPUT = "input-0"


@dataclasses.dataclass(frozen=True)
class Request:
    """The inputs of one request, each with the examples along its first axis."""

    inputs: Sequence[Tensor]
    size: int

    def __len__(self) -> int:
        return self.size


def request_of_examples(examples: Sequence[Any], specs: Sequence[TensorSpec]) -> Request:
    """One tensor of all examples; of dicts, one per key.

    Args:
        examples: at least one: arrays, numbers or texts for a model of one input; dicts of them,
            by the inputs' names, for any.
        specs: the inputs that the server tells of; empty where it tells of none.

    Raises:
        ExampleError: examples that do not fit together, or do not fit the inputs.
    """
    first = examples[0]
    if not isinstance(first, Mapping):
        if len(specs) > 1:
            raise ExampleError(
                f"example 0 is a {type(first).__name__}, but the model has {len(specs)} inputs: "
                f"give dicts with {listed(spec.name for spec in specs)}"
            )
        return Request([_tensor(stack(examples), _only(specs), _ONLY_INPUT)], len(examples))
    by_name = {spec.name: spec for spec in specs}
    names = list(by_name) or list(first)
    for position, example in enumerate(examples):
        if not isinstance(example, Mapping) or set(example) != set(names):
            has = listed(example) if isinstance(example, Mapping) else type(example).__name__
            raise ExampleError(
                f"example {position} has {has or 'nothing'}, but the model's inputs are "
                f"{listed(names)}"
            )
    tensors = [
        _tensor(stack([example[name] for example in examples]), by_name.get(name), name)
        for name in names
    ]
    return Request(tensors, len(examples))


def request_of_table(
    table: pa.Table, specs: Sequence[TensorSpec], *, per_column: bool | None
) -> Request:
    """All columns as one matrix, or one tensor per column.

    Args:
        table: the columns that the model sees.
        specs: the inputs that the server tells of; empty where it tells of none.
        per_column: by default, one tensor per column where the model has several inputs, or where
            a column is not of numbers.

    Raises:
        FeatureError: columns that cannot be inputs, or are not those of the model.
    """
    if per_column is None:
        per_column = len(specs) > 1 or not all(_is_matrix(field.type) for field in table.schema)
    if not per_column:
        return Request([_tensor(matrix(table), _only(specs), _ONLY_INPUT)], table.num_rows)
    by_name = {spec.name: spec for spec in specs}
    if len(specs) == 1 and table.num_columns == 1:  # whatever the column is called
        by_name = {table.column_names[0]: specs[0]}
    if specs and set(by_name) != set(table.column_names):
        raise FeatureError(
            f"the model's inputs are {listed(by_name)}, but the features are "
            f"{listed(table.column_names)}: name the features, and rename columns where needed"
        )
    tensors = [
        _tensor(_values(column, name), by_name.get(name), name)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return Request(tensors, table.num_rows)


def _only(specs: Sequence[TensorSpec]) -> TensorSpec | None:
    if len(specs) > 1:
        raise FeatureError(
            f"the model's inputs are {listed(spec.name for spec in specs)}: a table's columns "
            "cannot be one matrix for them"
        )
    return specs[0] if specs else None


def _tensor(array: np.ndarray[Any, Any], spec: TensorSpec | None, name: str) -> Tensor:
    if spec is None:
        return Tensor(name, datatype_of(array), array)
    wanted = spec.shape[1:]
    if array.ndim == 1 and len(wanted) == 1 and wanted[0] in (1, -1):
        array = array.reshape(-1, 1)
    found = array.shape[1:]
    if len(found) != len(wanted) or any(
        axis not in (-1, length) for axis, length in zip(wanted, found, strict=True)
    ):
        raise ExampleError(
            f"the examples are of shape {found}, but the model's input {spec.name!r} takes "
            f"{wanted} ({spec.datatype}; -1 for any length)"
        )
    return Tensor(spec.name, spec.datatype, _cast(array, spec))


def _cast(array: np.ndarray[Any, Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    found = datatype_of(array)
    if found == spec.datatype:
        return array
    dtype = dtype_of(spec.datatype)
    if dtype is None or found == "BYTES" or not _keeps_values(array, dtype):
        raise ExampleError(
            f"the examples are {found}, with values that the model's input {spec.name!r} of "
            f"{spec.datatype} cannot hold"
        )
    return array.astype(dtype)


def _keeps_values(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bool:
    """Whether a cast changes no value, but for the last digits of floating-point numbers."""
    if np.can_cast(array.dtype, dtype, "same_kind") and dtype.kind == "f":
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.array_equal(array.astype(dtype), array))


def _is_matrix(kind: pa.DataType) -> bool:
    is_list = pa.types.is_fixed_size_list(kind) and is_numeric(kind.value_type)
    return is_numeric(kind) or is_list or isinstance(kind, pa.FixedShapeTensorType)


def _values(column: pa.ChunkedArray, name: str) -> np.ndarray[Any, Any]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return np.asarray(column.to_pylist(), dtype=object)
    return array_of(column, name)
