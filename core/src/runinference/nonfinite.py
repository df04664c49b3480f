"""Find predictions that are not finite: NaN, or infinite."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runinference.rendering import FiniteRows
from runinference.results import ExampleFailed, PredictionResult

__all__ = ["nonfinite_positions"]


def nonfinite_positions(predictions: Sequence[Any] | pa.Table) -> list[int]:
    """The positions of predictions with a number that is not finite, in order.

    Looked into are floats, arrays and tensors of floats, and structures of them; a column of a
    table with its lists. What has no floats is finite.
    """
    if isinstance(predictions, FiniteRows):
        return []
    if isinstance(predictions, pa.Table):
        bad = np.zeros(len(predictions), dtype=bool)
        for column in predictions.columns:
            _mark_column(column, bad)
    else:
        bad = np.zeros(len(predictions), dtype=bool)
        _mark(predictions, bad)
    return np.flatnonzero(bad).tolist() if bad.any() else []


def _mark_column(column: pa.ChunkedArray, bad: np.ndarray[Any, Any]) -> None:
    start = 0
    for chunk in column.chunks:
        _mark_array(chunk, bad[start : start + len(chunk)])
        start += len(chunk)


def _mark_array(array: pa.Array, bad: np.ndarray[Any, Any]) -> None:
    kind = array.type
    if pa.types.is_floating(kind):
        finite = pc.fill_null(pc.is_finite(array), True)
        if not pc.all(finite).as_py():
            bad |= ~finite.to_numpy(zero_copy_only=False)
    elif pa.types.is_struct(kind):
        for field in array.flatten():
            _mark_array(field, bad)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        inner = array.flatten()
        inner_bad = np.zeros(len(inner), dtype=bool)
        _mark_array(inner, inner_bad)
        if inner_bad.any():
            parents = pc.list_parent_indices(array).to_numpy(zero_copy_only=False)
            bad[parents[inner_bad]] = True


def _mark(predictions: Sequence[Any], bad: np.ndarray[Any, Any]) -> None:
    """Predictions are mostly of one type, which then is looked at once for all of them."""
    kinds = set(map(type, predictions))
    if len(kinds) != 1:
        for position, prediction in enumerate(predictions):
            _mark([prediction], bad[position : position + 1])
        return
    [kind] = kinds
    if issubclass(kind, PredictionResult):
        _mark([prediction.inference for prediction in predictions], bad)
    elif issubclass(kind, ExampleFailed | str | bytes | int | np.integer | np.bool_):
        return
    elif issubclass(kind, float | np.floating):
        bad |= ~np.isfinite(np.asarray(predictions))
    elif issubclass(kind, Mapping):
        _mark_children(predictions, predictions[0].keys(), bad)
    elif issubclass(kind, tuple | list):
        _mark_children(predictions, range(len(predictions[0])), bad)
    elif hasattr(kind, "__array__") and hasattr(kind, "shape"):
        _mark_arrays(predictions, bad)


def _mark_children(predictions: Sequence[Any], keys: Any, bad: np.ndarray[Any, Any]) -> None:
    if len(predictions) == 1:
        flag = bad[:1]
        for key in keys:
            _mark([predictions[0][key]], flag)
    elif all(len(prediction) == len(predictions[0]) for prediction in predictions):
        try:
            children = [[prediction[key] for prediction in predictions] for key in keys]
        except KeyError:  # dicts of as many, but other keys
            children = []
            for position, prediction in enumerate(predictions):
                _mark_children([prediction], prediction.keys(), bad[position : position + 1])
        for values in children:
            _mark(values, bad)
    else:
        for position, prediction in enumerate(predictions):
            _mark([prediction], bad[position : position + 1])


def _mark_arrays(arrays: Sequence[Any], bad: np.ndarray[Any, Any]) -> None:
    try:
        torch = sys.modules.get("torch")  # never imported for this
        if torch is not None and isinstance(arrays[0], torch.Tensor):
            stacked = torch.stack(list(arrays))
            if stacked.numel() and (stacked.is_floating_point() or stacked.is_complex()):
                bad |= ~stacked.isfinite().reshape(len(arrays), -1).all(1).numpy()
            return
        values = np.stack(list(map(np.asarray, arrays)))
    except (RuntimeError, ValueError):  # to ask each for its shape first would cost more than this
        if len(arrays) == 1:
            raise
        for position, array in enumerate(arrays):
            _mark_arrays([array], bad[position : position + 1])
        return
    if values.size and values.dtype.kind in "fc":
        bad |= ~np.isfinite(values).reshape(len(arrays), -1).all(axis=1)
