"""Batches of examples: rows one by one, or the rows of an Arrow table.

An example's position in its batch is its only identity while it is being predicted: keys,
timestamps and windows stay outside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runinference.columns import numeric_columns
from runinference.errors import OutputStructureError

__all__ = ["Batch", "CodedKeys", "Positions", "RowBatch", "TableBatch", "pick"]

Positions = Sequence[int]
"""Where examples stand in a batch; a ``range`` of step 1 where they stand side by side."""


class CodedKeys(Sequence[Any]):
    """Many keys of which few are distinct: each a number into those.

    Args:
        values: the distinct keys.
        codes: ``[examples]``, the number of each one's key.
    """

    def __init__(self, values: Sequence[Any], codes: np.ndarray[Any, Any]) -> None:
        self.values = values
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, position: Any) -> Any:
        return self.values[self.codes[position]]


@dataclasses.dataclass(frozen=True)
class RowBatch:
    """Examples as Python objects.

    Attributes:
        examples: what the handler is given, in order.
        prepared: what the handler's ``prepare`` made of each, once it has run.
        lengths: the length of each, where the handler or the batching tells it.
    """

    examples: Sequence[Any]
    prepared: Sequence[Any] | None = None
    lengths: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, positions: Positions) -> RowBatch:
        """The examples at these positions, in their order."""
        if positions == range(len(self)):
            return self
        return RowBatch(
            pick(self.examples, positions),
            None if self.prepared is None else pick(self.prepared, positions),
            None if self.lengths is None else pick(self.lengths, positions),
        )

    def merge(self, parts: Iterable[tuple[Positions, Sequence[Any]]]) -> list[Any]:
        """Predictions of parts, put back at their positions."""
        listed = list(parts)
        if len(listed) == 1 and listed[0][0] == range(len(self)):
            return list(listed[0][1])
        merged: list[Any] = [None] * len(self)
        for positions, predictions in listed:
            for position, prediction in zip(positions, predictions, strict=True):
                merged[position] = prediction
        return merged


@dataclasses.dataclass(frozen=True)
class TableBatch:
    """The rows of an Arrow table.

    Attributes:
        table: all columns of the element, also those that the model does not see.
        features: the columns that the model sees, in order; None for the model's own, or for every
            numeric column that is not excluded where the model names none.
        exclude: columns that are no features unless ``features`` or the model names them.
        output: the name of the prediction column, or the beginning of several columns' names.
        prepared: what the handler's ``prepare`` made of each row, once it has run.
        lengths: the length of each row, where the handler tells it.
    """

    table: pa.Table
    features: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    output: str = "prediction"
    prepared: Sequence[Any] | None = None
    lengths: Sequence[int] | None = None

    def __len__(self) -> int:
        rows: int = self.table.num_rows
        return rows

    def feature_names(self, known: Sequence[str] | None) -> Sequence[str]:
        """The names of the columns that the model sees, in order.

        Args:
            known: those that the model was trained on, where it knows them.
        """
        names: Sequence[str] | None = known if self.features is None else self.features
        if names is None:
            names = [n for n in numeric_columns(self.table.schema) if n not in self.exclude]
        return names

    def take(self, positions: Positions) -> TableBatch:
        """The rows at these positions, in their order; no copy where they stand side by side."""
        if positions == range(len(self)):
            return self
        if isinstance(positions, range) and positions.step == 1:
            table = self.table.slice(positions.start, len(positions))
        else:
            table = self.table.take(pa.array(positions, pa.int64()))
        return dataclasses.replace(
            self,
            table=table,
            prepared=None if self.prepared is None else pick(self.prepared, positions),
            lengths=None if self.lengths is None else pick(self.lengths, positions),
        )

    def merge(self, parts: Iterable[tuple[Positions, pa.Table]]) -> pa.Table:
        """Prediction columns of parts, put back at their positions."""
        listed = list(parts)
        try:
            merged = pa.concat_tables([columns for _, columns in listed])
        except pa.ArrowInvalid as error:
            kinds = sorted({str(columns.schema) for _, columns in listed})
            raise OutputStructureError(
                "the predictions of one table have different columns, from different models or "
                f"calls: {' and '.join(kinds)}"
            ) from error
        if _stand_in_order([positions for positions, _ in listed]):
            return merged
        order = np.concatenate([np.asarray(positions) for positions, _ in listed])
        if np.array_equal(order, np.arange(len(order))):
            return merged
        return merged.take(pa.array(np.argsort(order)))


Batch = RowBatch | TableBatch


def _stand_in_order(parts: Iterable[Positions]) -> bool:
    """Whether each is a range that begins where the one before ends; told without their numbers."""
    end = 0
    for positions in parts:
        if not isinstance(positions, range) or (positions.start, positions.step) != (end, 1):
            return False
        end = positions.stop
    return True


def pick(values: Sequence[Any], positions: Positions) -> Sequence[Any]:
    """The values at these positions; those of a range stay what they are, an array or a range."""
    if isinstance(positions, range) and positions.step == 1:
        return values[positions.start : positions.stop]
    return [values[position] for position in positions]
