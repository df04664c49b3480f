"""Between elements that are tables and batches of their rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils import windowed_value

from runinference.batch import TableBatch
from runinference.coders import TimedExample
from runinference.errors import ConfigurationError
from runinference.hints import listed
from runinference.worker import Part

__all__ = ["GatherTables", "TableEdge"]


@dataclasses.dataclass
class _Gathered:
    tables: list[TimedExample] = dataclasses.field(default_factory=list)
    rows: int = 0


class GatherTables(beam.DoFn):
    """Puts small tables of a bundle together that follow each other in a window.

    Args:
        rows: how many are enough; a table that has as many goes alone.
    """

    def __init__(self, rows: int) -> None:
        self._enough = rows

    def start_bundle(self) -> None:
        """Nothing waits from one bundle to the next."""
        self._waiting: dict[Any, _Gathered] = {}

    def process(
        self,
        element: Any,
        windowed: Any = beam.DoFn.WindowedValueParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Any]:
        """One table in; out, once there are enough rows, a list of tables."""
        timed = TimedExample((element, windowed.timestamp_micros, windowed.pane_info))
        gathered = self._waiting.setdefault(window, _Gathered())
        if gathered.tables and not _fit(gathered.tables[-1][0], element):
            yield self._pop(window)
            gathered = self._waiting[window] = _Gathered()
        gathered.tables.append(timed)
        gathered.rows += len(element) if hasattr(element, "__len__") else 0
        if gathered.rows >= self._enough:
            yield self._pop(window)

    def finish_bundle(self) -> Iterator[Any]:
        """What is left."""
        for window in list(self._waiting):
            yield self._pop(window)

    def _pop(self, window: Any) -> Any:
        tables = self._waiting.pop(window).tables
        return windowed_value.WindowedValue(tables, window.max_timestamp(), (window,))


class TableEdge:
    """Lists of tables in, each table with its predictions out."""

    def __init__(
        self, features: tuple[str, ...] | None, output: str, keep: tuple[str, ...] | None
    ) -> None:
        self._features = features
        self._output = output
        self._keep = keep

    def open(self, element: Sequence[TimedExample]) -> tuple[TableBatch, None]:
        """The rows of all tables as one batch."""
        tables = [_arrow(table, self._keep or ()) for table, _, _ in element]
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        return TableBatch(table, self._features, self._keep or (), self._output), None

    def emit(
        self,
        element: Sequence[TimedExample],
        batch: TableBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        windows: Sequence[Any],
    ) -> Iterable[Any]:
        """One table per table, of the same kind, at its own time."""
        if not parts:  # no rows: nobody can tell the type of predictions that were not made
            predictions = pa.table({self._output: pa.nulls(0)})
        else:
            predictions = batch.merge((part.positions, part.predictions) for part in parts)
        start = 0
        for table, micros, pane in element:
            own = predictions.slice(start, len(table))
            start += len(table)
            scored = self._scored(table, own)
            yield windowed_value.create(scored, micros, windows, pane)

    def _scored(self, table: Any, predictions: pa.Table) -> Any:
        if _is_frame(table):
            present = list(table.columns)
        else:
            present = table.column_names
        kept = present if self._keep is None else list(self._keep)
        taken = [name for name in predictions.column_names if name in kept]
        if taken:
            raise ConfigurationError(
                f"the table has a column {taken[0]!r} already: choose another output="
            )
        if _is_frame(table):
            scored = table[kept].copy(deep=False)
            for name in predictions.column_names:
                scored[name] = predictions.column(name).to_pandas().to_numpy()
            return scored
        scored = table.select(kept)
        for name, column in zip(predictions.column_names, predictions.columns, strict=True):
            if isinstance(scored, pa.RecordBatch):
                column = column.combine_chunks()
            scored = scored.append_column(name, column)
        return scored


def _arrow(table: Any, keep: Iterable[str]) -> pa.Table:
    if isinstance(table, pa.RecordBatch):
        made = pa.Table.from_batches([table])
    elif _is_frame(table):
        made = pa.Table.from_pandas(table, preserve_index=False)
    elif isinstance(table, pa.Table):
        made = table
    else:
        raise ConfigurationError(
            "RunTableInference takes pyarrow.Table, pyarrow.RecordBatch or pandas.DataFrame "
            f"elements, but one is {type(table).__name__}"
        )
    for name in keep:
        if name not in made.column_names:
            raise ConfigurationError(
                f"keep names {name!r}, but the table has {listed(made.column_names)}"
            )
    return made


def _is_frame(table: Any) -> bool:
    return hasattr(table, "iloc") and hasattr(table, "columns")  # pandas is not imported


def _fit(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if _is_frame(one):
        return list(one.dtypes.items()) == list(other.dtypes.items())
    return bool(one.schema.equals(other.schema)) if hasattr(one, "schema") else False
