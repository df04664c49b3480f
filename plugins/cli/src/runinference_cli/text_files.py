"""Read CSV and JSON Lines files in blocks of whole rows."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from runinference.hints import listed
from runinference_cli.input_file import ReadError, Source, open_source, readable
from runinference_cli.splits import Split, rows_before

__all__ = ["infer_schema", "read_csv", "read_json"]

TEXT_BLOCK_BYTES = 16 * 1024 * 1024


def infer_schema(source: Source, types: Mapping[str, pa.DataType]) -> tuple[pa.Schema, bool] | None:
    """The columns of a CSV or JSON Lines file with the types of its first rows.

    Args:
        source: the file.
        types: of columns whose types are not to be guessed.

    Returns:
        The columns, and whether there are rows; None where the file is empty.

    Raises:
        ReadError: it cannot be read.
    """
    if not source.size:
        return None
    with readable(source):
        if source.format == "csv":
            with _csv(Split(source), types) as reader:
                has_rows = next(iter(reader), None) is not None
                inferred = reader.schema
        else:
            with open_source(source) as file:
                first = next(_lines(file), None)
            if first is None:
                return None
            has_rows = True
            inferred = _parse_json(Split(source), first, None, 0).schema
    # a column without a value so far: text can hold whatever comes
    fields = [
        pa.field(f.name, types.get(f.name, pa.string() if pa.types.is_null(f.type) else f.type))
        for f in inferred
    ]
    return pa.schema(fields), has_rows


def read_csv(split: Split, schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    if not split.source.size:
        return
    with _csv(split, dict(zip(schema.names, schema.types, strict=True))) as reader:
        _check_names(split.source, reader.schema.names, schema)
        for batch in reader:
            yield pa.Table.from_batches([batch]).select(names)


def read_json(split: Split, schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    done = 0
    with open_source(split.source) as file:
        for lines in _lines(_part(file, split)):
            table = _parse_json(split, lines, schema, done)
            done += table.num_rows
            yield table.select(names)


def _check_names(source: Source, names: list[str], schema: pa.Schema) -> None:
    for name in schema.names:
        if names.count(name) != 1:
            number = "no" if name not in names else names.count(name)
            raise ReadError(
                f"{source.path}: it has {number} column {name!r}, but "
                f"{listed(names)}: all files of a run need the same columns"
            )
    extra = [name for name in names if name not in schema.names]
    if extra:
        raise ReadError(
            f"{source.path}: it has another column {listed(extra)}: all files of a run need the "
            "same columns"
        )


@contextlib.contextmanager
def _csv(split: Split, types: Mapping[str, pa.DataType]) -> Iterator[pa.csv.CSVStreamingReader]:
    with (
        open_source(split.source) as file,
        pa.csv.open_csv(
            _part(file, split, header=True),
            # one thread: only so does an error tell its row, and it costs nothing here
            pa.csv.ReadOptions(block_size=TEXT_BLOCK_BYTES, use_threads=False),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=dict(types)),
        ) as reader,
    ):
        yield reader


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Blocks of whole lines, each with something in it."""
    rest = b""
    while data := file.read(TEXT_BLOCK_BYTES):
        whole, newline, after = data.rpartition(b"\n")
        if not newline:
            rest += data
            continue
        block, rest = rest + whole + newline, after
        if block.strip():
            yield block
    if rest.strip():
        yield rest


def _part(file: BinaryIO, split: Split, *, header: bool = False) -> BinaryIO:
    """The bytes of a split, behind the file's first line if there is a header to read.

    Those of a whole file are as many as were found when it was planned, so that one that is being
    shortened is an error, and one that grows is read to where it ended then.
    """
    if split.end is None:
        is_known = split.source.compression is None and "://" not in split.source.path
        return cast("BinaryIO", _Part(file, split.source.size, b"")) if is_known else file
    first = file.readline() if header and split.start else b""
    file.seek(split.start)
    return cast("BinaryIO", _Part(file, split.end - split.start, first))


class _Part(io.RawIOBase):
    """So many bytes of a file from where it stands, behind others."""

    def __init__(self, file: BinaryIO, size: int, before: bytes) -> None:
        super().__init__()
        self._file = file
        self._left = size
        self._before = before

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        before, self._before = self._before, b""
        wanted = self._left if size < 0 else min(max(size - len(before), 1), self._left)
        data = self._file.read(wanted)
        if wanted and not data:
            raise EOFError(f"{self._left} bytes are missing at its end, which were there before")
        self._left -= len(data)
        return before + data


def _parse_json(split: Split, lines: bytes, schema: pa.Schema | None, done: int) -> pa.Table:
    options = pa.json.ParseOptions(
        explicit_schema=schema,
        unexpected_field_behavior="infer" if schema is None else "error",
    )
    # one block, so that no row is cut
    size = pa.json.ReadOptions(block_size=len(lines) + 1, use_threads=False)
    try:
        return pa.json.read_json(pa.BufferReader(lines), size, options)
    except pa.ArrowInvalid as error:
        message = _json_message(split.source, str(error), rows_before(split) + done)
        raise ReadError(message) from error


def _json_message(source: Source, message: str, done: int) -> str:
    place = re.search(r" in row (\d+)", message)
    if place is not None:
        row = done + int(place[1]) + 1
        return (
            f"{source.path}: row {row} is not a JSON object on a line of its own, or of other "
            f"types than the rows before: {message.replace(place[0], '')}"
        )
    where = f"a row after row {done}" if done else "a row"
    if "unexpected field" in message:
        return (
            f"{source.path}: {where} has a field that the first rows do not have: all rows of a "
            "run need the same fields, or some of them"
        )
    return (
        f"{source.path}: {where} does not fit the columns of the first rows: {message}: correct "
        "it, or say --column-types"
    )
