"""Between elements that are tables and batches of their rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils import windowed_value

from runinference.batch import CodedKeys, TableBatch
from runinference.coders import TimedExample
from runinference.errors import ConfigurationError
from runinference.failures import FAILED, Failed
from runinference.hints import did_you_mean, listed
from runinference.worker import Part

__all__ = ["FAILURE_COLUMNS", "SOURCE", "GatherTables", "TableEdge"]

FAILURE_COLUMNS = ("failure_stage", "failure_type", "failure_message")
"""The columns of text that a table of failed rows has besides those of the rows."""

SOURCE = b"runinference.source"
"""The key of a table's schema metadata that tells where its rows come from, for errors: a name and
the number of its first row, as JSON."""


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
        self,
        features: tuple[str, ...] | None,
        output: str,
        keep: tuple[str, ...] | None,
        key: str | None = None,
    ) -> None:
        self._key = key
        self._features = features
        self._output = output
        self._keep = keep

    def open(self, element: Sequence[TimedExample]) -> tuple[TableBatch, CodedKeys | None]:
        """The rows of all tables as one batch, and their keys."""
        tables = [_arrow(table, self._keep or ()) for table, _, _ in element]
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        keep = self._keep or ()
        if self._key is None:
            return TableBatch(table, self._features, keep, self._output), None
        batch = TableBatch(table, self._features, (*keep, self._key), self._output)
        return batch, _coded_keys(table, self._key)

    def emit(
        self,
        element: Sequence[TimedExample],
        batch: TableBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        failures: Sequence[Failed],
        windows: Sequence[Any],
    ) -> Iterable[Any]:
        """One table per table, of the same kind, at its own time; without the rows that failed,
        and none where all of them did."""
        if not parts:  # no rows: nobody can tell the type of predictions that were not made
            predictions = pa.table({self._output: pa.nulls(0)})
        else:
            predictions = batch.merge((part.positions, part.predictions) for part in parts)
        reasons = _by_row(failures, len(batch)) if failures else None
        start = done = 0
        for table, micros, pane in element:
            own = slice(start, start + len(table))
            start += len(table)
            if reasons is not None and reasons.failed[own].any():
                dead = reasons.dead_letters(table, own)
                yield TaggedOutput(FAILED, windowed_value.create(dead, micros, windows, pane))
                table = _rows(table, np.flatnonzero(~reasons.failed[own]))
                if not len(table):
                    continue
            scored = self._scored(table, predictions.slice(done, len(table)))
            done += len(table)
            yield windowed_value.create(scored, micros, windows, pane)

    def locate(self, element: Sequence[TimedExample], position: int) -> str:
        """See :class:`runinference.worker.Edge`."""
        for table, _, _ in element:
            if position < len(table):
                break
            position -= len(table)
        metadata = getattr(getattr(table, "schema", None), "metadata", None) or {}
        if SOURCE not in metadata:
            return f"row {position} of a table of {len(table)} rows"
        source, first = json.loads(metadata[SOURCE])
        return f"{source}, row {first + position}"

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


@dataclasses.dataclass(frozen=True)
class _Reasons:
    """Which rows of a batch failed, and the reason of each, by its number."""

    failed: np.ndarray[Any, Any]
    number: np.ndarray[Any, Any]
    values: list[tuple[str, str, str]]

    def dead_letters(self, table: Any, own: slice) -> Any:
        """The failed rows of a table, which stands at ``own`` in the batch, with their reasons."""
        rows = np.flatnonzero(self.failed[own])
        dead = _rows(table, rows)
        reasons = [self.values[number] for number in self.number[own][rows]]
        for name, values in zip(FAILURE_COLUMNS, zip(*reasons, strict=True), strict=True):
            if _is_frame(dead):
                dead[name] = list(values)
                continue
            if name in dead.column_names:  # rows that failed before
                dead = dead.drop_columns([name])
            dead = dead.append_column(name, pa.array(values, pa.string()))
        return dead


def _by_row(failures: Sequence[Failed], size: int) -> _Reasons:
    failed = np.zeros(size, dtype=bool)
    number = np.zeros(size, dtype=np.int64)
    values = []
    for which, failure in enumerate(failures):
        failed[failure.positions] = True
        number[failure.positions] = which
        values.append((failure.stage, failure.reason.type, failure.reason.message))
    return _Reasons(failed, number, values)


def _rows(table: Any, positions: np.ndarray[Any, Any]) -> Any:
    return table.iloc[positions].copy() if _is_frame(table) else table.take(pa.array(positions))


def _coded_keys(table: pa.Table, name: str) -> CodedKeys:
    if name not in table.column_names:
        hint = did_you_mean(name, table.column_names)
        raise ConfigurationError(
            f"key={name!r}: the table has no such column; {hint}it has {listed(table.column_names)}"
        )
    column = table.column(name).combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    coded = pc.dictionary_encode(column, null_encoding="encode")
    return CodedKeys(coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False))


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
