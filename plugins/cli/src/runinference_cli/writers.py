"""Write Arrow tables to one file, block by block: Parquet, CSV or JSON Lines."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from runinference.errors import RunInferenceError
from runinference_cli.failures import UsageError

__all__ = ["SUFFIXES", "PartWriter", "WriteError", "check_writable", "write_empty"]

_SAMPLE_ROWS = 16_384
# Where this many are distinct in the sample, those of a row group outgrow a dictionary's page.
_UNIQUE = 0.95
SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl"}


class WriteError(RunInferenceError):
    """Results that do not go into one file."""


class PartWriter:
    """One file of results; its columns are those of the first table."""

    def __init__(self, path: Path, file_format: str) -> None:
        self.path = path
        self.rows = 0
        self._format = file_format
        self._file: _File | None = None
        self._schema: pa.Schema | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table.

        Raises:
            OSError: names the file.
            WriteError: columns unlike those of the first table, or that the format cannot hold.
        """
        try:
            if self._file is None or self._schema is None:
                self._schema = table.schema
                self._file = _OPENERS[self._format](str(self.path), table)
            elif table.schema != self._schema:
                table = self._cast(table, self._schema)
            self._file.write_table(table)
        except OSError as error:
            self.abort()
            raise _named(error, self.path) from error
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            self.abort()
            raise WriteError(
                f"results cannot be written as {self._format}: {error}: choose another "
                "--output-format"
            ) from error
        self.rows += table.num_rows

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: names the file.
        """
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            raise _named(error, self.path) from error

    def abort(self) -> None:
        """Let go of a file that stays incomplete."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                file.close()

    @property
    def schema(self) -> str:
        """The columns with their types, to be compared with those of other files."""
        fields = [] if self._schema is None else [f"{f.name}: {f.type}" for f in self._schema]
        return ", ".join(fields)

    def _cast(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        try:
            return table.cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            self.abort()
            raise WriteError(
                "the model's predictions changed between blocks of rows: they were "
                f"{schema.types[-1]} and are {table.schema.types[-1]} ({error})"
            ) from error


def check_writable(schema: pa.Schema, file_format: str) -> None:
    """Refuse columns that a format cannot hold.

    Raises:
        UsageError: names the column.
    """
    if file_format != "csv":
        return
    for field in schema:
        try:
            pa.csv.CSVWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(
                f"column {field.name!r} is of type {field.type}, which a CSV file cannot hold: "
                "leave it out of --keep, or choose another --output-format"
            ) from error


def write_empty(path: Path, schema: pa.Schema, file_format: str) -> None:
    """Write a file of no rows."""
    writer = PartWriter(path, file_format)
    writer.write(schema.empty_table())
    writer.close()


class _File(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _JsonLines:
    """One JSON object per row; made of whole columns."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  # closed by close()

    def write_table(self, table: pa.Table) -> None:
        for batch in table.to_batches():
            if batch.num_rows:
                self._file.write(_json_lines(batch))

    def close(self) -> None:
        self._file.close()


def _open_parquet(path: str, first: pa.Table) -> _File:
    file: _File = pa.parquet.ParquetWriter(
        path, first.schema, use_dictionary=_with_dictionary(first.slice(0, _SAMPLE_ROWS))
    )
    return file


_OPENERS: dict[str, Callable[[str, pa.Table], _File]] = {
    "parquet": _open_parquet,
    "csv": lambda path, first: pa.csv.CSVWriter(path, first.schema),
    "jsonl": lambda path, first: _JsonLines(path, first.schema),
}


def _with_dictionary(sample: pa.Table) -> bool | list[str]:
    """The columns, by their paths in the file, that a Parquet dictionary is good for.

    All where that says as much. To try one on values that hardly ever repeat takes most of the
    time of writing them, and the file grows by it.
    """
    if sample.num_rows < _SAMPLE_ROWS:
        return True
    unique = {
        name
        for name, column in zip(sample.column_names, sample.columns, strict=True)
        if pa.types.is_primitive(column.type) or pa.types.is_string(column.type)
        if pc.count_distinct(column, "all").as_py() > _UNIQUE * sample.num_rows
    }
    if not unique:
        return True
    empty = pa.BufferOutputStream()
    pa.parquet.write_table(sample.slice(0, 0), empty)
    columns = pa.parquet.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    paths = [columns.column(number).path for number in range(len(columns))]
    return [path for path in paths if path not in unique]


def _json_lines(batch: pa.RecordBatch) -> bytes:
    parts: list[Any] = []
    for number, (field, column) in enumerate(zip(batch.schema, batch.columns, strict=True)):
        parts += [pa.scalar(f"{', ' if number else '{'}{json.dumps(field.name)}: ")]
        parts += [_json_values(column)]
    lines = pc.binary_join_element_wise(*parts, pa.scalar("}\n"), "")
    # the lines stand side by side in one buffer, which is the file
    size = pc.sum(pc.binary_length(lines)).as_py()
    content: bytes = lines.buffers()[2].slice(0, size).to_pybytes()
    return content


def _json_values(column: pa.Array) -> pa.Array:
    """Each value as JSON; what JSON has no number for is null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _json_values(column.dictionary).take(column.indices).fill_null("null")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string()).fill_null("null")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = column.dictionary_encode()
        texts = pa.array([json.dumps(text) for text in coded.dictionary.to_pylist()], pa.string())
        return texts.take(coded.indices).fill_null("null")
    values = [json.dumps(_finite(value), default=str) for value in column.to_pylist()]
    return pa.array(values, pa.string())


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the file's name, which Arrow leaves out, and without what it adds."""
    told = os.strerror(error.errno) if error.errno else str(error)
    return OSError(error.errno, told, str(path))
