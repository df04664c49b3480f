"""Between elements that are tables and batches of their rows."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from runinference.batch import CodedKeys, TableBatch
from runinference.errors import ConfigurationError
from runinference.failures import FAILED, Failed
from runinference.gathering import Elements
from runinference.hints import did_you_mean, listed
from runinference.work import Part

__all__ = ["FAILURE_COLUMNS", "SOURCE", "GatherTables", "TableEdge"]

FAILURE_COLUMNS = ("failure_stage", "failure_type", "failure_message")
"""The columns of text that a table of failed rows has besides those of the rows."""

SOURCE = b"runinference.source"
"""The key of a table's schema metadata that tells where its rows come from, for errors: a name and
the number of its first row, as JSON."""


class GatherTables:
    """Small tables that follow each other.

    Args:
        rows: how many are enough; a table that has as many goes alone.
    """

    def __init__(self, rows: int) -> None:
        self._enough = rows

    def start(self) -> None:
        """See :class:`runinference.gathering.Gather`."""
        self._waiting: list[Any] = []
        self._rows = 0

    def add(self, windowed: Any) -> Elements | None:
        """See :class:`runinference.gathering.Gather`."""
        table, ready = windowed.value, None
        if self._waiting and not _fit(self._waiting[-1].value, table):
            ready = self._pop()
        self._waiting.append(windowed)
        self._rows += len(table) if hasattr(table, "__len__") else 0
        # where the columns change, what came before goes, and the newcomer waits in any case
        return self._pop() if ready is None and self._rows >= self._enough else ready

    def rest(self) -> Iterator[Elements]:
        """See :class:`runinference.gathering.Gather`."""
        if self._waiting:
            yield self._pop()

    def timing(self, size: int) -> AbstractContextManager[None]:
        """See :class:`runinference.gathering.Gather`; sizes of calls are learnt elsewhere."""
        return contextlib.nullcontext()

    def _pop(self) -> Elements:
        waiting, self._waiting, self._rows = self._waiting, [], 0
        return waiting


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

    def open(self, elements: Elements) -> tuple[TableBatch, CodedKeys | None]:
        """The rows of all tables as one batch, and their keys."""
        tables = [_arrow(windowed.value, self._keep or ()) for windowed in elements]
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        keep = self._keep or ()
        if self._key is None:
            return TableBatch(table, self._features, keep, self._output), None
        batch = TableBatch(table, self._features, (*keep, self._key), self._output)
        return batch, _coded_keys(table, self._key)

    def emit(
        self,
        elements: Elements,
        batch: TableBatch,
        keys: Sequence[Any] | None,
        parts: Sequence[Part],
        failures: Sequence[Failed],
    ) -> Iterable[Any]:
        """One table per table, of the same kind; without the rows that failed,
        and none where all of them did."""
        if not parts:  # no rows: nobody can tell the type of predictions that were not made
            predictions = pa.table({self._output: pa.nulls(0)})
        else:
            predictions = batch.merge((part.positions, part.predictions) for part in parts)
        reasons = _by_row(failures, len(batch)) if failures else None
        start = done = 0
        for windowed in elements:
            table = windowed.value
            own = slice(start, start + len(table))
            start += len(table)
            if reasons is not None and reasons.failed[own].any():
                dead = reasons.dead_letters(table, own)
                yield TaggedOutput(FAILED, windowed.with_value(dead))
                table = _rows(table, np.flatnonzero(~reasons.failed[own]))
                if not len(table):
                    continue
            scored = self._scored(table, predictions.slice(done, len(table)))
            done += len(table)
            yield windowed.with_value(scored)

    def sizes(self, elements: Elements) -> Iterable[int]:
        """See :class:`runinference.worker.Edge`."""
        return (len(windowed.value) for windowed in elements)

    def locate(self, elements: Elements, position: int) -> str:
        """See :class:`runinference.worker.Edge`."""
        for windowed in elements:
            table = windowed.value
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
