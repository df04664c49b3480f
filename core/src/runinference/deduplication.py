"""Predict equal examples of a batch once, and give the prediction to each of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runinference.batch import Batch, Positions, TableBatch
from runinference.columns import array_of, is_numeric
from runinference.errors import FatalExampleError, FeatureError
from runinference.events import ExamplesDeduplicated, ExamplesFailed
from runinference.failures import Failed
from runinference.hooks import Observers
from runinference.model import LoadedModel, Predictions
from runinference.solve import Solved

__all__ = ["Distinct", "distinct", "solve_distinct"]


class Distinct(NamedTuple):
    """Which examples of a batch are equal.

    Attributes:
        codes: ``[examples]``, the number of each one's group; groups are numbered in the order of
            their first examples.
        firsts: ``[groups]``, where the first example of each stands.
    """

    codes: np.ndarray[Any, Any]
    firsts: np.ndarray[Any, Any]

    @classmethod
    def of(cls, codes: np.ndarray[Any, Any]) -> Distinct:
        """The groups of codes that are numbered so."""
        firsts = np.empty(int(codes.max()) + 1, dtype=np.int64)
        firsts[codes[::-1]] = np.arange(len(codes))[::-1]  # the last one assigned stays
        return cls(codes, firsts)

    def members(self, groups: Positions) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Where the examples of some groups stand, ascending, and the index of each one's group."""
        index = np.full(len(self.firsts), -1)
        index[np.asarray(groups)] = np.arange(len(groups))
        positions = np.flatnonzero(index[self.codes] >= 0)
        return positions, index[self.codes[positions]]


def distinct(batch: Batch, model: LoadedModel) -> Distinct | None:
    """Which examples are equal; None where none are, or where it cannot be told.

    Examples are compared by class and value, arrays and tensors by shape, dtype and bytes, and what
    is none of these by its pickle. Rows of a table are compared by the model's features.
    """
    if isinstance(batch, TableBatch):
        codes = _codes_of_rows(batch, model)
    else:
        numbers: dict[Any, int] = {}
        keys = map(_key, batch.examples)
        codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    if codes is None:
        return None
    found = Distinct.of(codes)
    return found if len(found.firsts) < len(codes) else None


def solve_distinct(
    solve: Callable[[Batch], Solved], batch: Batch, model: LoadedModel, observers: Observers
) -> Solved:
    """Solve the first of each group of equal examples, and answer the others as it.

    Each example gets a prediction of its own: what can be changed is copied. A failure of one is a
    failure of all that are equal to it.

    Args:
        solve: predicts a batch.
        batch: at least one example.
        model: predicts them.
        observers: are told how many examples did not need the model.

    Raises:
        FatalExampleError: as ``solve`` raises it, for the position in the whole batch.
        Exception: whatever else ``solve`` raises.
    """
    found = distinct(batch, model)
    if found is None:
        return solve(batch)
    try:
        solved = solve(batch.take(found.firsts.tolist()))
    except FatalExampleError as error:
        where = int(found.firsts[error.position])
        raise FatalExampleError(str(error), where) from error.__cause__
    whole = Solved([], [])
    saved = 0
    for groups, predictions in solved.parts:
        positions, index = found.members(groups)
        saved += len(positions) - len(groups)
        whole.parts.append((_positions(positions), _spread(predictions, index)))
    for failed in solved.failures:
        positions, _ = found.members(failed.positions)
        whole.failures.append(failed._replace(positions=_positions(positions)))
        _tell_failed(observers, model, failed, len(positions) - len(failed.positions))
    if saved:
        observers.examples_deduplicated(ExamplesDeduplicated(model.name, model.model_id, saved))
    return whole


def _tell_failed(observers: Observers, model: LoadedModel, failed: Failed, copies: int) -> None:
    if copies:
        reason = failed.reason
        observers.examples_failed(
            ExamplesFailed(
                model.name, model.model_id, copies, failed.stage, reason.type, reason.message
            )
        )


def _positions(positions: np.ndarray[Any, Any]) -> Positions:
    """As a range where they stand side by side, which the table's merge then need not sort."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first + 1 == len(positions):
        return range(first, last + 1)
    listed: list[int] = positions.tolist()
    return listed


def _spread(predictions: Predictions, index: np.ndarray[Any, Any]) -> Predictions:
    if isinstance(predictions, pa.Table):
        return predictions.take(pa.array(index))
    spread = []
    used = [False] * len(predictions)
    for one in index.tolist():
        prediction = predictions[one]
        spread.append(_copied(prediction) if used[one] else prediction)
        used[one] = True
    return spread


_UNCHANGEABLE = frozenset({bool, int, float, complex, str, bytes, type(None)})


def _copied(prediction: Any) -> Any:
    """A prediction that shares nothing that can be changed with this one."""
    if type(prediction) in _UNCHANGEABLE or isinstance(prediction, np.generic):
        return prediction
    return copy.deepcopy(prediction)


def _key(value: Any) -> Any:
    """Equal for values that a model cannot tell apart, and hashable."""
    kind = type(value)
    if kind in (str, bytes, int, bool, type(None)):
        return kind, value
    if kind is float:
        return kind, value.hex()  # 0.0 is not -0.0, and nan is nan
    if (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype.kind not in "OV":
        return kind, value.dtype, value.shape, value.tobytes()
    if kind is dict:
        return kind, tuple((_key(name), _key(one)) for name, one in value.items())
    if kind in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return kind, tuple(map(_key, value))
    if hasattr(value, "detach") and hasattr(value, "numpy"):  # a tensor of torch
        try:
            return kind, value.device, value.dtype, _key(_array(value.detach().cpu()))
        except (TypeError, RuntimeError):  # sparse, quantized, ...
            pass
    try:
        return kind, pickle.dumps(value)
    except Exception:  # noqa: BLE001 - a class of the user's may raise anything
        return object()  # equal to nothing


def _array(tensor: Any) -> Any:
    try:
        return tensor.numpy()
    except TypeError:  # a type that numpy has not, such as bfloat16; all fit into this one
        return tensor.float().numpy()


def _codes_of_rows(batch: TableBatch, model: LoadedModel) -> np.ndarray[Any, Any] | None:
    table = batch.table
    names = batch.feature_names(model.feature_names())
    if not names or any(table.column_names.count(name) != 1 for name in names):
        return None  # the model's own error will tell
    try:
        columns = [part for name in names for part in _bytes_of(table.column(name), name)]
    except (FeatureError, pa.ArrowNotImplementedError):
        return None  # lists of different lengths, and other nested values
    rows = np.ascontiguousarray(np.concatenate(columns, axis=1))
    width = rows.shape[1]
    keys = pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])
    codes: np.ndarray[Any, Any] = pc.dictionary_encode(keys).indices.to_numpy()
    return codes


def _bytes_of(column: pa.ChunkedArray, name: str) -> Iterator[np.ndarray[Any, Any]]:
    """Bytes, ``[rows, width]``, that are equal where the values are."""
    kind = column.type
    nested = pa.types.is_nested(kind) or isinstance(kind, pa.FixedShapeTensorType)
    if is_numeric(kind) or (nested and not column.null_count):
        if column.null_count:
            yield _as_bytes(column.is_null().to_numpy())
            column = column.fill_null(False if pa.types.is_boolean(kind) else 0)
        yield _as_bytes(array_of(column, name))
        return
    if pa.types.is_dictionary(kind):  # one value may stand in it twice, or under several numbers
        column = column.cast(kind.value_type)
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    yield _as_bytes(coded.indices.to_numpy())


def _as_bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.ascontiguousarray(values)
    return values.reshape(len(values), -1).view(np.uint8)
