"""What a model predicted, as counts of labels or histograms of numbers, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runinference.results import ExampleFailed, PredictionResult
from runinference_cli.run_report.distributions import Distribution, of_labels, of_values
from runinference_cli.run_report.sketches import Sample

__all__ = ["Predictions"]

_ROWS = 16_384
_LEAVES = 8
_RANGE = 4096
_WAITING_ROWS = 100_000
_WAITING_BYTES = 8 << 20


class _Leaf:
    """The values of one output of a model: those of a sample of its rows, or all labels."""

    def __init__(self) -> None:
        self.values: list[np.ndarray[Any, Any]] = []
        self.exact: Counter[Any] | None = Counter()
        self.is_of_vectors = False

    def thin(self, stays: float, random: np.random.Generator) -> None:
        if stays < 1 and self.values:
            values = np.concatenate(self.values)
            self.values = [values[random.random(len(values)) < stays]]


class Predictions:
    """Looks at the predictions of each call; of small tables at some of them together.

    Args:
        rows: the most to keep the values of.
    """

    def __init__(self, rows: int = _ROWS) -> None:
        self._sample = Sample(rows, np.random.default_rng(0))
        self._leaves: dict[str, _Leaf] = {}
        self._left_out: set[str] = set()
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0

    def add(self, predictions: Sequence[Any] | pa.Table) -> None:
        """Take those of one call; a list, or the prediction columns of a table."""
        if isinstance(predictions, pa.Table):
            # a look costs as much as tens of thousands of rows do
            self._waiting.append(predictions)
            self._waiting_rows += len(predictions)
            self._waiting_bytes += predictions.nbytes
            if self._waiting_rows >= _WAITING_ROWS or self._waiting_bytes >= _WAITING_BYTES:
                self._look()
            return
        self._admit(len(predictions))
        positions = self._sample.draw(len(predictions)).tolist()
        if positions:
            self._add_values("", [predictions[position] for position in positions])

    def distributions(self) -> list[Distribution]:
        """Of each output, in the order in which they came."""
        self._look()
        made = [self._distribution(name, leaf) for name, leaf in self._leaves.items()]
        return [one for one in made if one is not None]

    @property
    def left_out(self) -> int:
        """How many further outputs there are."""
        return len(self._left_out)

    def _distribution(self, name: str, leaf: _Leaf) -> Distribution | None:
        if leaf.exact is not None:
            return of_labels(name, leaf.exact)
        notes = []
        if leaf.is_of_vectors:
            notes.append("each row has a vector, of which one entry counts, drawn at random")
        return of_values(name, leaf.values, is_whole=self._sample.share == 1, notes=notes)

    def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._waiting_rows = self._waiting_bytes = 0
        if waiting and any(table.schema != waiting[0].schema for table in waiting):
            together = waiting  # of several models
        else:
            together = [pa.concat_tables(waiting)] if waiting else []
        for table in together:
            self._admit(len(table))
            for name, column in zip(table.column_names, table.columns, strict=True):
                self._add_column(name, column)

    def _admit(self, count: int) -> None:
        stays = self._sample.admit(count)
        for leaf in self._leaves.values():
            leaf.thin(stays, self._sample.random)

    def _leaf(self, name: str) -> _Leaf | None:
        if name not in self._leaves:
            if len(self._leaves) == _LEAVES:
                if len(self._left_out) < 1000:
                    self._left_out.add(name)
                return None
            self._leaves[name] = _Leaf()
        return self._leaves[name]

    def _add_column(self, name: str, column: pa.ChunkedArray) -> None:
        kind = column.type
        if pa.types.is_struct(kind):
            for field, part in zip(kind, column.flatten(), strict=True):
                self._add_column(f"{name}.{field.name}", part)
            return
        leaf = self._leaf(name)
        if leaf is None:
            return
        if leaf.exact is not None and not _count(column, leaf.exact):
            if leaf.exact:
                leaf.values.append(_drawn(leaf.exact, self._sample))
            leaf.exact = None
        if leaf.exact is None:
            few = column.take(pa.array(self._sample.draw(len(column)))).combine_chunks()
            few = few.drop_null()
            if not len(few):
                return
            if pa.types.is_floating(kind) or pa.types.is_integer(kind):
                leaf.values.append(few.to_numpy(zero_copy_only=False))
            else:
                self._keep(leaf, few.to_pylist())

    def _add_values(self, name: str, values: Sequence[Any]) -> None:
        """Values of sampled rows; all are taken to be of the first one's kind."""
        first = values[0]
        if isinstance(first, PredictionResult):
            self._add_values(name, [getattr(value, "inference", value) for value in values])
        elif isinstance(first, Mapping):
            for key in first:
                own = [
                    value[key] for value in values if isinstance(value, Mapping) and key in value
                ]
                self._add_values(f"{name}.{key}" if name else str(key), own)
        elif isinstance(first, tuple) and not _is_number(first[0] if first else None):
            for number, _ in enumerate(first):
                path = f"{name}[{number}]"
                self._add_values(path, [value[number] for value in values if len(value) > number])
        else:
            leaf = self._leaf(name)
            if leaf is not None:
                leaf.exact = None
                self._keep(leaf, values)

    def _keep(self, leaf: _Leaf, values: Sequence[Any]) -> None:
        values = [value for value in values if not isinstance(value, ExampleFailed)]
        kept: list[Any] = []
        for value in values:
            if hasattr(value, "detach"):  # a torch tensor
                value = value.detach().cpu().numpy()
            shape = getattr(value, "shape", None)
            if shape or (shape is None and isinstance(value, list | tuple)):
                # one entry, any of them: as good a sample of them as more
                leaf.is_of_vectors = True
                flat = value.reshape(-1) if hasattr(value, "reshape") else value
                if not len(flat):
                    continue
                value = flat[int(self._sample.random.integers(len(flat)))]
            kept.append(value.item() if hasattr(value, "item") else value)
        if not kept:
            return
        if all(_is_number(value) and not isinstance(value, bool) for value in kept):
            leaf.values.append(np.asarray(kept, np.float64))
        else:
            texts = np.empty(len(kept), object)
            texts[:] = [value if isinstance(value, str) else repr(value) for value in kept]
            leaf.values.append(texts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def _count(column: pa.ChunkedArray, counts: Counter[Any]) -> bool:
    """Count all labels of a column; False where that would be much work, or they are many."""
    kind = column.type
    if not len(column):
        return True
    if pa.types.is_boolean(kind):
        true = pc.sum(column).as_py() or 0
        counts.update({True: true, False: len(column) - column.null_count - true})
        return True
    if not pa.types.is_integer(kind) or column.null_count:
        return False
    bounds = pc.min_max(column).as_py()
    low, high = bounds["min"], bounds["max"]
    if high - low > _RANGE or len(counts) > _RANGE:
        return False
    for chunk in column.chunks:
        found = np.bincount(chunk.to_numpy().astype(np.int64, copy=False) - low)
        [present] = np.nonzero(found)
        counts.update({low + int(n): int(found[n]) for n in present})
    return True


def _drawn(counts: Counter[Any], sample: Sample) -> np.ndarray[Any, Any]:
    """What a sample would have kept of these."""
    labels = np.array(list(counts))
    numbers = np.array(list(counts.values()))
    return np.repeat(labels, sample.random.binomial(numbers, sample.share))
