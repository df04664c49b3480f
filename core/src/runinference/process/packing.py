"""Turn objects into buffers for another process of this machine, and back.

Only processes that one of them has started exchange these: they trust each other, so that pickles
are safe between them. Large arrays and Arrow tables are not copied into the pickle, and lists of
many small arrays travel as one.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import pickle
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pyarrow as pa

from runinference.batch import Batch, RowBatch

__all__ = ["Buffers", "fold", "fold_batch", "pack", "unfold", "unfold_batch", "unpack"]

Buffers = Sequence[Any]
"""Objects with the buffer protocol: a pickle, and what it refers to."""

# Smaller ones cost less within the pickle than as a buffer of their own.
_LARGE = 64 * 1024


def pack(value: Any) -> list[Any]:
    """A pickle, and the large buffers that it refers to.

    Classes and functions of ``__main__`` travel by value.

    Raises:
        Exception: whatever an object that cannot be pickled raises.
    """
    buffers: list[Any] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _LARGE:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=is_small).dump(value)
    return [file.getvalue(), *buffers]


def unpack(buffers: Buffers) -> Any:
    """What :func:`pack` was given; arrays and tables stay in the buffers.

    Raises:
        Exception: whatever a class that is absent here, or one that cannot be unpickled, raises.
    """
    return pickle.loads(buffers[0], buffers=buffers[1:])


class _Folded(NamedTuple):
    """Many values of one kind: an array or a tensor with one along its first axis, or columns."""

    data: Any
    keys: tuple[Any, ...] | None = None


def fold(values: Sequence[Any]) -> Any:
    """The same values: as one array where they are small arrays, tensors or numbers of one kind, as
    columns where they are dicts of the same keys; :func:`unfold` makes a list of them again.

    A pickle of 64,000 small arrays takes half a second, that of one array milliseconds.
    """
    if len(values) < 2:
        return values
    first = values[0]
    kind = type(first)
    if kind is dict:
        return _fold_dicts(values, first)
    if kind is np.ndarray:
        return _fold_arrays(values, first)
    if issubclass(kind, np.generic) and first.dtype.kind in "biufc":
        if all(type(value) is kind for value in values):
            return _Folded(np.array(values, first.dtype))
    elif _is_tensor(kind) and first.nbytes < _LARGE:
        return _fold_tensors(values, first)
    return values


def unfold(folded: Any, *, owned: bool) -> Sequence[Any]:
    """The values that :func:`fold` was given.

    Args:
        folded: what it returned.
        owned: whether each value is to have memory of its own, instead of a view of all.
    """
    if not isinstance(folded, _Folded):
        values: Sequence[Any] = folded
        return values
    data, keys = folded
    if keys is not None:
        columns = [unfold(column, owned=owned) for column in data]
        return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
    if not isinstance(data, np.ndarray):
        return [row.clone() for row in data.unbind(0)] if owned else list(data.unbind(0))
    return [row.copy() for row in data] if owned and data.ndim > 1 else list(data)


def fold_batch(batch: Batch) -> Batch:
    """The batch, ready to be packed: what a model that gets prepared examples does not read is left
    out."""
    prepared = None if batch.prepared is None else fold(batch.prepared)
    if isinstance(batch, RowBatch):
        is_read = batch.prepared is None
        return RowBatch(fold(batch.examples) if is_read else range(len(batch)), prepared)
    table = batch.table if batch.prepared is None else pa.table({"": pa.nulls(len(batch))})
    return dataclasses.replace(batch, table=table, prepared=prepared, lengths=None)


def unfold_batch(batch: Batch) -> Batch:
    """The batch that :func:`fold_batch` was given."""
    prepared = None if batch.prepared is None else unfold(batch.prepared, owned=False)
    if isinstance(batch, RowBatch):
        return RowBatch(unfold(batch.examples, owned=False), prepared)
    return dataclasses.replace(batch, prepared=prepared)


def _fold_dicts(values: Sequence[Any], first: dict[Any, Any]) -> Any:
    keys = tuple(first)
    if not keys or not all(type(value) is dict and tuple(value) == keys for value in values):
        return values
    return _Folded([fold([value[key] for value in values]) for key in keys], keys)


def _fold_arrays(values: Sequence[Any], first: np.ndarray[Any, Any]) -> Any:
    dtype, shape = first.dtype, first.shape
    if dtype.hasobject or not shape or first.nbytes >= _LARGE:
        return values
    if not all(
        type(value) is np.ndarray and value.shape == shape and value.dtype == dtype
        for value in values
    ):
        return values
    return _Folded(np.concatenate(values).reshape(len(values), *shape))


def _fold_tensors(values: Sequence[Any], first: Any) -> Any:
    kind, shape, dtype, device = type(first), first.shape, first.dtype, first.device
    for value in values:
        if type(value) is not kind or value.shape != shape or value.dtype != dtype:
            return values
        if value.device != device or value.requires_grad:
            return values
    return _Folded(sys.modules[kind.__module__].stack(list(values)))


def _is_tensor(kind: type) -> bool:
    """Whether this is torch's own tensor class, or one that can do the same; none is imported."""
    module = sys.modules.get(kind.__module__)
    return hasattr(kind, "unbind") and hasattr(module, "stack") and hasattr(module, "from_dlpack")


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # of no type
    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is np.ndarray:
            return NotImplemented
        if kind is pa.Table:
            # The format of messages holds the rows of a slice; a pickle, those around it too.
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, obj.schema) as writer:
                writer.write_table(obj)
            return _read_table, (pickle.PickleBuffer(sink.getvalue()),)
        if _is_tensor(kind):
            try:
                array = np.from_dlpack(obj)
            except (BufferError, RuntimeError, TypeError):  # of a type or a device of its own
                return super().reducer_override(obj)
            data = pickle.PickleBuffer(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            return _read_tensor, (kind.__module__, data, array.dtype.str, array.shape)
        return super().reducer_override(obj)


def _read_table(buffer: Any) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(buffer)).read_all()


def _read_tensor(module: str, buffer: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    array = np.frombuffer(buffer, dtype)
    if not array.flags.writeable:
        array = array.copy()
    return importlib.import_module(module).from_dlpack(array.reshape(shape))
