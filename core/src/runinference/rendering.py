"""Render a leaf of a model's outputs as one value per example, or as an Arrow column.

Frameworks are told apart by what their arrays can do: none is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runinference.errors import OutputStructureError
from runinference.results import PredictionResult

__all__ = [
    "SHARED_BYTES",
    "FiniteRows",
    "column_of",
    "columns_of_rows",
    "is_finite_leaf",
    "owned",
    "rows_of",
]

SHARED_BYTES = 64
"""The memory that small tensors share with their neighbours: one with memory of its own takes twice
as long to make."""


class FiniteRows(list[Any]):
    """Predictions of which all were found to be finite before they were rows."""


def is_finite_leaf(leaf: Any) -> bool:
    """Whether no number of a leaf is NaN or infinite; False also where it cannot be told at once,
    and each row has to be looked at."""
    if isinstance(leaf, np.ndarray):
        kind = leaf.dtype.kind
        return kind in "biuUS" or (kind in "fc" and bool(np.isfinite(leaf).all()))
    if hasattr(leaf, "unbind") and hasattr(leaf, "isfinite"):  # a torch tensor
        has_floats = leaf.is_floating_point() or leaf.is_complex()
        return not has_floats or bool(leaf.isfinite().all())
    return False


def rows_of(leaf: Any, lengths: Sequence[int] | None = None) -> list[Any]:
    """One entry per example, none of which holds on to the others' memory.

    But for small tensors: up to 64 bytes of neighbours are in one piece of memory, at places of
    their own, so that one that is kept or pickled has as much with it at most.

    Args:
        leaf: an array, a tensor, a column, a frame or a list.
        lengths: how much of each entry to keep, where its first axis was padded.
    """
    if isinstance(leaf, np.ndarray):
        return list(leaf) if leaf.ndim == 1 else [row.copy() for row in _cut(leaf, lengths)]
    if hasattr(leaf, "unbind") and hasattr(leaf, "clone"):  # a torch tensor; torch is not imported
        leaf = leaf.detach().cpu()
        if lengths is None:
            return _tensors(leaf)
        return [row.clone() for row in _cut(leaf.unbind(0), lengths)]
    if lengths is not None:
        return list(_cut(rows_of(leaf), lengths))
    if isinstance(leaf, pa.Array | pa.ChunkedArray):
        values: list[Any] = leaf.to_pylist()
        return values
    if hasattr(leaf, "tocsr"):  # a scipy sparse matrix or array
        rows = leaf.tocsr()
        return [rows[i] for i in range(rows.shape[0])]
    if hasattr(leaf, "iloc") and getattr(leaf, "ndim", 1) == 2:  # a pandas DataFrame
        return [leaf.iloc[i : i + 1].copy() for i in range(len(leaf))]
    return list(leaf)


def owned(leaf: Any) -> Any:
    """A leaf that is the same for each example, without the memory that it is a view of."""
    if hasattr(leaf, "detach") and hasattr(leaf, "clone"):  # a torch tensor
        return leaf.detach().cpu().clone()
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def column_of(leaf: Any, lengths: Sequence[int] | None = None) -> pa.Array:
    """A column: scalars as they are, vectors and beyond as (nested) fixed-size lists.

    Args:
        leaf: an array, a tensor, a column or a list.
        lengths: how much of each entry to keep, as a list of any length.
    """
    if isinstance(leaf, pa.ChunkedArray):
        return leaf.combine_chunks()
    if isinstance(leaf, pa.Array):
        return leaf
    if hasattr(leaf, "detach"):  # a torch tensor
        leaf = leaf.detach().cpu()
        leaf = (leaf.float() if str(leaf.dtype) == "torch.bfloat16" else leaf).numpy()
    elif hasattr(leaf, "toarray"):  # scipy sparse: Arrow has no sparse column
        leaf = leaf.toarray()
    if isinstance(leaf, list | tuple):
        return column_of_values(leaf if lengths is None else list(_cut(leaf, lengths)))
    array = np.asarray(leaf)
    if lengths is not None:
        is_own = np.arange(array.shape[1]) < np.asarray(lengths)[:, None]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), column_of(array[is_own]))
    if array.dtype.kind == "U" or array.dtype == object:
        return pa.array(array.tolist())
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    for width in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, width)
    return values


def column_of_values(values: Sequence[Any]) -> pa.Array:
    if values and getattr(values[0], "ndim", 0) > 0:
        shapes = {tuple(value.shape) for value in values if hasattr(value, "shape")}
        if len(shapes) == 1 and not hasattr(values[0], "toarray"):
            return column_of(np.stack([np.asarray(value) for value in values]))
        values = [np.asarray(value).tolist() for value in values]
    elif values and hasattr(values[0], "item"):  # numpy scalars and 0-d tensors
        return column_of(np.asarray([np.asarray(value) for value in values]))
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise OutputStructureError(
            f"predictions such as {values[0]!r:.100} do not make one column: {error}"
        ) from error


def columns_of_rows(rows: Sequence[Any], name: str) -> pa.Table:
    """Predictions that came one by one, as columns: dicts of equal keys one column per key.

    Raises:
        OutputStructureError: predictions that do not share a type.
    """
    values = [row.inference if isinstance(row, PredictionResult) else row for row in rows]
    first = values[0] if values else None
    if isinstance(first, Mapping):
        keys = list(first)
        for position, value in enumerate(values):
            if not isinstance(value, Mapping) or list(value) != keys:
                raise OutputStructureError(
                    f"the prediction of row {position} is {value!r:.100}, while that of row 0 is a "
                    f"dict of {keys}: the rows of a table need predictions of one structure"
                )
        return pa.table(
            {f"{name}_{key}": column_of_values([value[key] for value in values]) for key in keys}
        )
    return pa.table({name: column_of_values(values)})


def _tensors(leaf: Any) -> list[Any]:
    torch = sys.modules["torch"]  # it is what made the tensor
    together = SHARED_BYTES * len(leaf) // max(leaf.element_size() * leaf.numel(), 1)
    if together < 2:
        return list(torch.unbind_copy(leaf))
    return [row for part in torch.split_copy(leaf, together) for row in part.unbind(0)]


def _cut(rows: Iterable[Any], lengths: Sequence[int] | None) -> Iterable[Any]:
    if lengths is None:
        return rows
    return (row[:length] for row, length in zip(rows, lengths, strict=True))
