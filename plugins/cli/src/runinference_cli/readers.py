"""Read Parquet, CSV and JSON Lines files block by block, as Arrow tables of one schema."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from runinference.errors import RunInferenceError

__all__ = ["ReadError", "Source", "infer_schema", "parquet_rows", "read_blocks"]

MAX_BLOCK_ROWS = 128 * 1024
MAX_BLOCK_BYTES = 64 * 1024 * 1024
TEXT_BLOCK_BYTES = 16 * 1024 * 1024


class ReadError(RunInferenceError):
    """An input file that cannot be read: damaged, or with a row that does not fit."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A file to score.

    Attributes:
        path: local, or of a scheme that Beam's file systems know.
        format: ``parquet``, ``csv`` or ``jsonl``.
        compression: around a CSV or JSON Lines file, as Arrow calls it.
        size: in bytes.
        rows: where the file tells.
    """

    path: str
    format: str
    compression: str | None
    size: int
    rows: int | None = None


def parquet_rows(source: Source) -> tuple[pa.Schema, int]:
    """The columns and the number of rows of a Parquet file, from its footer.

    Raises:
        ReadError: it has none.
    """
    with _readable(source), _parquet(source) as file:
        return file.schema_arrow, file.metadata.num_rows


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
    with _readable(source):
        if source.format == "csv":
            with _csv(source, types) as reader:
                has_rows = next(iter(reader), None) is not None
                inferred = reader.schema
        else:
            with _open(source) as file:
                first = next(_lines(file), None)
            if first is None:
                return None
            has_rows = True
            inferred = _parse_json(source, first, None, 0).schema
    # a column without a value so far: text can hold whatever comes
    fields = [
        pa.field(f.name, types.get(f.name, pa.string() if pa.types.is_null(f.type) else f.type))
        for f in inferred
    ]
    return pa.schema(fields), has_rows


def read_blocks(
    source: Source, schema: pa.Schema, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a file, in order.

    Args:
        source: the file.
        schema: the columns that it has to have.
        columns: those that are needed, of which alone a Parquet file is read; all where None.

    Raises:
        ReadError: names the file, and the row where it is known.
    """
    names = list(schema.names if columns is None else columns)
    read = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_json}[source.format]
    blocks = read(source, schema, names)
    while True:
        with _readable(source):
            block = next(blocks, None)
        if block is None:
            return
        for start in range(0, block.num_rows, MAX_BLOCK_ROWS):
            yield block.slice(start, MAX_BLOCK_ROWS)


def _read_parquet(source: Source, schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    with _parquet(source) as file:
        sizes = _row_groups(file)
        rows = MAX_BLOCK_BYTES * sum(r for r, _ in sizes) // max(sum(b for _, b in sizes), 1)
        rows = min(max(rows, 1), MAX_BLOCK_ROWS)
        for together in _runs([own for own, _ in sizes], rows):
            # Arrow keeps what it has read until the iterator ends: one for the file would keep all
            for batch in file.iter_batches(rows, row_groups=list(together), columns=names):
                table = pa.Table.from_batches([batch]).select(names)
                yield table.replace_schema_metadata(schema.metadata)


def _row_groups(file: pa.parquet.ParquetFile) -> list[tuple[int, int]]:
    """The rows and the uncompressed bytes of each row group."""
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    return [(group.num_rows, group.total_byte_size) for group in groups]


def _runs(sizes: Sequence[int], enough: int) -> Iterator[range]:
    """Neighbours that are enough together, or one alone that is."""
    start = rows = 0
    for number, size in enumerate(sizes):
        if number > start and rows + size > enough:
            yield range(start, number)
            start, rows = number, 0
        rows += size
    if sizes:
        yield range(start, len(sizes))


def _read_csv(source: Source, schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    if not source.size:
        return
    with _csv(source, dict(zip(schema.names, schema.types, strict=True))) as reader:
        _check_names(source, reader.schema.names, schema)
        for batch in reader:
            yield pa.Table.from_batches([batch]).select(names)


def _read_json(source: Source, schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    done = 0
    with _open(source) as file:
        for lines in _lines(file):
            table = _parse_json(source, lines, schema, done)
            done += table.num_rows
            yield table.select(names)


def _check_names(source: Source, names: list[str], schema: pa.Schema) -> None:
    for name in schema.names:
        if names.count(name) != 1:
            number = "no" if name not in names else names.count(name)
            raise ReadError(
                f"{source.path}: it has {number} column {name!r}, but "
                f"{', '.join(map(repr, names))}: all files of a run need the same columns"
            )
    extra = [name for name in names if name not in schema.names]
    if extra:
        raise ReadError(
            f"{source.path}: it has another column {', '.join(map(repr, extra))}: all files of a "
            "run need the same columns"
        )


@contextlib.contextmanager
def _readable(source: Source) -> Iterator[None]:
    """Whatever Arrow says of a file, with the file's name before it and what to do behind it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ReadError(f"{source.path}: the file does not exist (any more)") from error
    except PermissionError as error:
        raise ReadError(f"{source.path}: no permission to read it") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ReadError(_message(source, str(error))) from error
    except (OSError, EOFError) as error:
        raise ReadError(f"{source.path}: damaged or not readable: {error}") from error


def _message(source: Source, message: str) -> str:
    path = source.path
    if source.format == "parquet":
        return f"{path}: not a Parquet file, or a damaged one: {message}"
    found = re.search(
        r"In CSV column #(\d+): Row #(\d+): CSV conversion error to (.+): invalid value '(.*)'",
        message,
        re.DOTALL,
    )
    if found is not None:
        column, row, kind, value = found.groups()
        return (
            f"{path}: row {row} (the header is row 1), column {int(column) + 1}: {value!r:.60} is "
            f"not {kind}, which the first rows are: correct it, or say --column-types"
        )
    return f"{path}: not a CSV file with a header, or a damaged one: {message}"


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


@contextlib.contextmanager
def _open(source: Source) -> Iterator[BinaryIO]:
    """The uncompressed content."""
    with contextlib.ExitStack() as stack:
        if "://" in source.path:
            from apache_beam.io.filesystems import FileSystems  # local files do without

            opened = FileSystems.open(source.path, compression_type="uncompressed")
            file: Any = stack.enter_context(opened)
        else:
            file = stack.enter_context(open(source.path, "rb"))
        if source.compression is not None:
            file = stack.enter_context(pa.CompressedInputStream(file, source.compression))
        yield cast("BinaryIO", file)


@contextlib.contextmanager
def _parquet(source: Source) -> Iterator[pa.parquet.ParquetFile]:
    if "://" not in source.path:
        with pa.parquet.ParquetFile(source.path) as file:
            yield file
    else:
        with _open(source) as opened, pa.parquet.ParquetFile(opened) as file:
            yield file


@contextlib.contextmanager
def _csv(source: Source, types: Mapping[str, pa.DataType]) -> Iterator[pa.csv.CSVStreamingReader]:
    with (
        _open(source) as file,
        pa.csv.open_csv(
            file,
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


def _parse_json(source: Source, lines: bytes, schema: pa.Schema | None, done: int) -> pa.Table:
    options = pa.json.ParseOptions(
        explicit_schema=schema,
        unexpected_field_behavior="infer" if schema is None else "error",
    )
    # one block, so that no row is cut
    size = pa.json.ReadOptions(block_size=len(lines) + 1, use_threads=False)
    try:
        return pa.json.read_json(pa.BufferReader(lines), size, options)
    except pa.ArrowInvalid as error:
        raise ReadError(_json_message(source, str(error), done)) from error
