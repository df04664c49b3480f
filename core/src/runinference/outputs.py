"""Check a model's outputs once, leaf by leaf, before they become rows or columns.

Models answer with arrays, tensors, lists, or structures of them: dicts (Hugging Face's
``ModelOutput`` too), tuples, named tuples, dataclasses. Everything that is not a structure is a
leaf, and a leaf holds one entry per example along its first axis, or along the axis that
``batch_axis`` tells.

A leaf's path is written as Python would reach it: ``logits``, ``hidden_states[0]``, ``[1][0]``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runinference.errors import OutputStructureError, PredictionCountError
from runinference.rendering import FiniteRows, column_of, is_finite_leaf, owned, rows_of

__all__ = ["BatchAxis", "Outputs", "read_outputs", "read_predictions"]

BatchAxis = int | Mapping[str, int | None]
"""The axis that counts examples: one for all leaves, or per leaf (0 where not named); None for a
leaf that belongs to the batch as a whole and is the same for each example."""


class Outputs:
    """The leaves of one call's outputs, each with the examples along its first axis.

    Made by :func:`read_outputs`, which has checked the lengths.
    """

    def __init__(
        self,
        count: int,
        leaves: Mapping[str, Any],
        shared: dict[str, Any],
        rebuild: Callable[[Mapping[str, Any]], Any] | None,
    ) -> None:
        self.count = count
        self.leaves = leaves
        self._shared = shared
        self._rebuild = rebuild

    def rows(self, lengths: Mapping[str, Sequence[int]] | None = None) -> list[Any]:
        """One prediction per example, in order; each owns its memory.

        Args:
            lengths: for the leaves whose second axis was padded, each example's own length.
        """
        own = lengths or {}
        columns = {path: rows_of(leaf, own.get(path)) for path, leaf in self.leaves.items()}
        if self._rebuild is None:
            rows = columns[""]
        else:
            paths = tuple(columns)
            shared = {path: owned(leaf) for path, leaf in self._shared.items()}
            rows = [
                self._rebuild(shared | dict(zip(paths, row, strict=True)))
                for row in zip(*columns.values(), strict=True)
            ]
        is_finite = all(map(is_finite_leaf, (*self.leaves.values(), *self._shared.values())))
        return FiniteRows(rows) if is_finite else rows

    def columns(self, name: str, lengths: Mapping[str, Sequence[int]] | None = None) -> pa.Table:
        """A column per leaf, ``name`` for a single one, else ``name_<path>``; a row per example.

        Args:
            name: of the column, or the beginning of the columns' names.
            lengths: for the leaves that hold sequences, each example's own length; their columns
                are lists of any length, in whatever batch.
        """
        own = lengths or {}
        return pa.table(
            {
                name if path == "" else f"{name}_{_column_suffix(path)}": column_of(
                    leaf, own.get(path)
                )
                for path, leaf in self.leaves.items()
            }
        )


def read_outputs(
    raw: Any,
    count: int,
    *,
    source: str,
    batch_axis: BatchAxis = 0,
    select: Sequence[str] | None = None,
) -> Outputs:
    """Check what a model answered for ``count`` examples.

    Args:
        raw: an array, a tensor, a list, an iterator, or a structure of leaves.
        count: the number of examples of the call.
        source: who answered, for the errors.
        batch_axis: see :data:`BatchAxis`.
        select: the paths of the leaves to keep, a whole branch by its own path; all where None.

    Raises:
        OutputStructureError: None, a scalar, a string, or a leaf that has no such axis.
        PredictionCountError: a leaf with another number of entries than examples.
    """
    if isinstance(raw, Iterator):
        raw = list(raw)
    if raw is None:
        raise OutputStructureError(
            f"{source} returned None for {count} examples: return one prediction per example"
        )
    leaves: dict[str, Any] = {}
    rebuild = _flatten(raw, "", leaves, select)
    if select is not None:
        _check_selection(select, leaves, raw, source)
    if not leaves:
        raise OutputStructureError(f"{source} returned an output without leaves: {raw!r:.100}")
    _check_named_axes(batch_axis, leaves, source)
    shared: dict[str, Any] = {}
    for path, leaf in list(leaves.items()):
        axis = batch_axis if isinstance(batch_axis, int) else batch_axis.get(path, 0)
        if axis is None or (leaf is None and path):
            shared[path] = leaves.pop(path)
        else:
            leaves[path] = _with_batch_first(leaf, axis, path, count, raw, source)
    if not leaves:
        raise OutputStructureError(f"{source} returned no leaf with one entry per example")
    structured = "" not in leaves
    return Outputs(count, leaves, shared, rebuild if structured else None)


def read_predictions(raw: Any, count: int, *, source: str) -> list[Any]:
    """What ``run_inference`` returned, as a list of one prediction per example, in order.

    A list or a generator holds one prediction per example; anything else is read as
    :func:`read_outputs` does, with the same errors.
    """
    if isinstance(raw, Iterator):
        raw = list(raw)
    if isinstance(raw, list):
        if len(raw) != count:
            raise PredictionCountError(_count_message(source, "", len(raw), count))
        return raw
    return read_outputs(raw, count, source=source).rows()


def _flatten(
    node: Any, path: str, leaves: dict[str, Any], select: Sequence[str] | None
) -> Callable[[Mapping[str, Any]], Any] | None:
    """Collect the leaves below a node, and return what builds the same structure of other leaves.

    None is returned for a branch of which no leaf is selected.
    """
    children = _children(node, path)
    if children is None:
        if select is not None and not any(_is_below(path, chosen) for chosen in select):
            return None
        leaves[path] = node
        return lambda values: values[path]
    builders = [
        (key, builder)
        for key, child_path, child in children
        if (builder := _flatten(child, child_path, leaves, select)) is not None
    ]
    if not builders:
        return None
    if isinstance(node, Mapping):
        return lambda values: {key: build(values) for key, build in builders}
    if isinstance(node, tuple):
        complete = len(builders) == len(node)
        make: Callable[[Iterable[Any]], Any] = (
            getattr(type(node), "_make", tuple) if complete else tuple
        )
        return lambda values: make(build(values) for _, build in builders)
    return lambda values: dataclasses.replace(node, **{key: b(values) for key, b in builders})


def _children(node: Any, path: str) -> list[tuple[Any, str, Any]] | None:
    """Key, path and value of each child, or None for a leaf."""
    if isinstance(node, Mapping):
        return [(key, f"{path}.{key}" if path else str(key), node[key]) for key in node]
    if isinstance(node, tuple):
        return [(i, f"{path}[{i}]", child) for i, child in enumerate(node)]
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        names = [field.name for field in dataclasses.fields(node)]
        return [(n, f"{path}.{n}" if path else n, getattr(node, n)) for n in names]
    return None


def _is_below(path: str, chosen: str) -> bool:
    return path == chosen or path.startswith((f"{chosen}.", f"{chosen}["))


def _check_selection(
    select: Sequence[str], leaves: Mapping[str, Any], raw: Any, source: str
) -> None:
    missing = [chosen for chosen in select if not any(_is_below(path, chosen) for path in leaves)]
    if missing:
        every: dict[str, Any] = {}
        _flatten(raw, "", every, None)
        raise OutputStructureError(
            f"{source}: outputs={list(select)!r} asks for {missing[0]!r}, but the model answers "
            f"with {', '.join(map(repr, every))}"
        )


def _check_named_axes(batch_axis: BatchAxis, leaves: Mapping[str, Any], source: str) -> None:
    unknown = [] if isinstance(batch_axis, int) else [p for p in batch_axis if p not in leaves]
    if unknown:
        raise OutputStructureError(
            f"{source}: batch_axis names {unknown[0]!r}, but the model answers with "
            f"{', '.join(map(repr, leaves))}"
        )


def _with_batch_first(leaf: Any, axis: int, path: str, count: int, raw: Any, source: str) -> Any:
    shape = getattr(leaf, "shape", None)
    is_sequence = isinstance(leaf, Sequence | pa.Array | pa.ChunkedArray)
    if shape is None and is_sequence and not isinstance(leaf, str | bytes):
        shape = (len(leaf),)
    if shape is None or not -len(shape) <= axis < len(shape):
        kind = f"{type(leaf).__name__} of shape {tuple(shape)}" if shape == () else repr(leaf)
        what = f"leaf {path!r} of the output" if path else "the output"
        hint = (
            "; a tuple is read as a structure: return a list for one prediction per example"
            if isinstance(raw, tuple)
            else "; say batch_axis={...: None} for a leaf that is no prediction, or outputs=[...] "
            "for those that are"
            if path
            else ": return one prediction per example"
        )
        raise OutputStructureError(
            f"{source}: {what} is {kind:.100}, not one entry per example{hint}"
        )
    if shape[axis] != count:
        raise PredictionCountError(_count_message(source, path, shape[axis], count, shape))
    if axis in (0, -len(shape)):
        return leaf
    # torch.Tensor.movedim; numpy and what behaves like it has numpy.moveaxis
    return leaf.movedim(axis, 0) if hasattr(leaf, "movedim") else np.moveaxis(leaf, axis, 0)


def _count_message(
    source: str, path: str, found: int, count: int, shape: Sequence[int] = ()
) -> str:
    if not path:
        return (
            f"{source} returned {found} predictions for {count} examples: exactly one per example, "
            "in order, is needed"
        )
    return (
        f"{source}: leaf {path!r} of the output has {found} entries (shape {tuple(shape)}) for "
        f"{count} examples; say batch_axis={{{path!r}: AXIS}} if another axis counts the examples "
        "(None if none does), or outputs=[...] to keep other leaves only"
    )


def _column_suffix(path: str) -> str:
    return path.replace(".", "_").replace("[", "_").replace("]", "").lstrip("_")
