"""Read files block by block, as Arrow tables of one schema."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet

from runinference_cli.input_file import ReadError, Source, open_source, readable
from runinference_cli.splits import Split, rows_before, runs
from runinference_cli.text_files import read_csv, read_json

__all__ = ["parquet_groups", "read_blocks"]

MAX_BLOCK_ROWS = 128 * 1024
MAX_BLOCK_BYTES = 64 * 1024 * 1024


def parquet_groups(source: Source) -> tuple[pa.Schema, list[tuple[int, int]]]:
    """The columns of a Parquet file, and the rows and uncompressed bytes of each row group.

    Raises:
        ReadError: it has no footer that says so.
    """
    with readable(source), _parquet(source) as file:
        return file.schema_arrow, _sizes(file, range(file.metadata.num_row_groups))


def read_blocks(
    split: Split, schema: pa.Schema, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a split, in order.

    What is in memory at a time is a block: up to 128 Ki rows, and about 64 MiB, of Parquet, and
    16 MiB of text. A row group of a Parquet file is decoded block by block, but its bytes as they
    are in the file are read at once: large ones need memory.

    Args:
        split: of the file.
        schema: the columns that the file has to have.
        columns: those that are needed, of which alone a Parquet file is read; all where None.

    Raises:
        ReadError: names the file, and the row where it is known.
    """
    names = list(schema.names if columns is None else columns)
    source = split.source
    read = {"parquet": _read_parquet, "csv": read_csv, "jsonl": read_json}[source.format]
    blocks = read(split, schema, names)
    while True:
        with readable(source, functools.partial(rows_before, split)):
            block = next(blocks, None)
        if block is None:
            return
        for start in range(0, block.num_rows, MAX_BLOCK_ROWS):
            yield block.slice(start, MAX_BLOCK_ROWS)


def _read_parquet(split: Split, schema: pa.Schema, names: list[str]) -> Iterator[pa.Table]:
    with _parquet(split.source) as file:
        end = file.metadata.num_row_groups if split.end is None else split.end
        own = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        has_columns = all(own.get(name) == schema.field(name).type for name in names)
        if not has_columns or end > file.metadata.num_row_groups:
            raise ReadError(f"{split.source.path}: it is another file than when the run began")
        sizes = _sizes(file, range(split.start, end))
        rows = MAX_BLOCK_BYTES * sum(r for r, _ in sizes) // max(sum(b for _, b in sizes), 1)
        rows = min(max(rows, 1), MAX_BLOCK_ROWS)
        for together in runs([own for own, _ in sizes], rows):
            groups = [split.start + number for number in together]
            for table in _blocks(file, groups, rows, names):
                yield table.select(names).replace_schema_metadata(schema.metadata)


def _blocks(
    file: pa.parquet.ParquetFile, groups: list[int], rows: int, names: list[str]
) -> Iterator[pa.Table]:
    if sum(file.metadata.row_group(group).num_rows for group in groups) <= rows:
        # as iter_batches would, which decodes the groups one by one and copies them into one piece
        yield file.read_row_groups(groups, names)
        return
    # Arrow keeps what it has read until the iterator ends: one for the file would keep all
    for batch in file.iter_batches(rows, row_groups=groups, columns=names):
        yield pa.Table.from_batches([batch])


def _sizes(file: pa.parquet.ParquetFile, numbers: range) -> list[tuple[int, int]]:
    """The rows and the uncompressed bytes of these row groups."""
    groups = map(file.metadata.row_group, numbers)
    return [(group.num_rows, group.total_byte_size) for group in groups]


@contextlib.contextmanager
def _parquet(source: Source) -> Iterator[pa.parquet.ParquetFile]:
    if "://" not in source.path:
        # bytes that are near need no buffer to be fetched into before they are wanted
        with pa.parquet.ParquetFile(source.path, pre_buffer=False) as file:
            yield file
    else:
        with open_source(source) as opened, pa.parquet.ParquetFile(opened) as file:
            yield file
