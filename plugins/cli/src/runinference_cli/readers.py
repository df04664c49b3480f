"""Read files block by block, as Arrow tables of one schema."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet

from runinference_cli.input_file import Source, open_source, readable
from runinference_cli.text_files import read_csv, read_json

__all__ = ["parquet_rows", "read_blocks"]

MAX_BLOCK_ROWS = 128 * 1024
MAX_BLOCK_BYTES = 64 * 1024 * 1024


def parquet_rows(source: Source) -> tuple[pa.Schema, int]:
    """The columns and the number of rows of a Parquet file, from its footer.

    Raises:
        ReadError: it has none.
    """
    with readable(source), _parquet(source) as file:
        return file.schema_arrow, file.metadata.num_rows


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
    read = {"parquet": _read_parquet, "csv": read_csv, "jsonl": read_json}[source.format]
    blocks = read(source, schema, names)
    while True:
        with readable(source):
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


@contextlib.contextmanager
def _parquet(source: Source) -> Iterator[pa.parquet.ParquetFile]:
    if "://" not in source.path:
        with pa.parquet.ParquetFile(source.path) as file:
            yield file
    else:
        with open_source(source) as opened, pa.parquet.ParquetFile(opened) as file:
            yield file
