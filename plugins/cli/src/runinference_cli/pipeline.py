"""Read the tables of a run, and stamp each with the rows that it holds.

A table carries in its schema's metadata which rows of which split it holds, since the steps between
reading and writing pass on nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from runinference.errors import RunInferenceError
from runinference.projection import NeededColumns
from runinference.table_edge import SOURCE
from runinference_cli.background import ahead
from runinference_cli.readers import read_blocks
from runinference_cli.splits import Split, rows_before
from runinference_cli.stages import stage

__all__ = ["LostRowsError", "ReadTables", "arrived", "read_stamp", "rows_in_flight"]

_KEY = b"runinference_cli.rows"
_thread = threading.local()


class LostRowsError(RunInferenceError):
    """Rows were read that were not written, or the other way round."""


def rows_in_flight() -> str:
    """The rows that this thread predicts: read, and not yet to be written; "" where there are none.

    In a worker that predicts in the thread that reads, the batch that fails is among them.
    """
    blocks: dict[tuple[int, int], _Block] = getattr(_thread, "blocks", {})
    if len(blocks) > 2:
        first, *_, last = blocks.values()
        return f"{_name(first)} to {_name(last)}"
    return " and ".join(map(_name, blocks.values()))


def arrived(part: int, row: int) -> None:
    """Rows are no longer in flight."""
    getattr(_thread, "blocks", {}).pop((part, row), None)


class ReadTables(beam.DoFn):
    """From splits to their rows, and behind each one's an empty table that says that it was all.

    Blocks are read ahead, by a thread of this step.

    Args:
        schema: the columns of the files.
        needed: which of them are read; all where None.
    """

    def __init__(self, schema: pa.Schema, needed: NeededColumns | None) -> None:
        self._schema = schema
        self._needed = needed
        self._blocks: Generator[tuple[pa.Table, _Block | None], None, None] | None = None

    def start_bundle(self) -> None:
        """Nothing of an earlier bundle is on its way."""
        self.teardown()
        _thread.blocks = {}

    def process(self, splits: Sequence[tuple[int, Split]]) -> Iterable[pa.Table]:
        """The tables of numbered splits, one split after the other."""
        columns = None if self._needed is None else self._needed.among(self._schema)
        self._blocks = ahead(self._read(splits, columns))
        for table, block in self._blocks:
            if block is not None:
                _thread.blocks[block.part, block.row] = block
            yield table

    def teardown(self) -> None:
        """End the thread, also where not all was asked for."""
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            blocks.close()

    def _read(
        self, splits: Sequence[tuple[int, Split]], columns: Sequence[str] | None
    ) -> Iterator[tuple[pa.Table, _Block | None]]:
        schema = self._schema.empty_table()
        empty = schema if columns is None else schema.select(list(columns))
        for part, split in splits:
            row = 0
            for table in _timed(read_blocks(split, self._schema, columns)):
                yield (
                    _stamp(table, split, part, row, is_end=False),
                    _Block(part, row, table.num_rows, split),
                )
                row += table.num_rows
            if split.rows is not None and row != split.rows:
                raise LostRowsError(f"{split.source.path}: read {row} rows of {split.rows}")
            yield _stamp(empty, split, part, row, is_end=True), None


def _timed(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    while True:
        with stage("read"):
            table = next(tables, None)
        if table is None:
            return
        yield table


class _Block(NamedTuple):
    """Rows on their way, counted within their split."""

    part: int
    row: int
    rows: int
    split: Split


def _name(block: _Block) -> str:
    first = rows_before(block.split) + block.row
    return f"{block.split.source.path} (rows {first + 1} to {first + block.rows})"


def _stamp(table: pa.Table, split: Split, part: int, row: int, *, is_end: bool) -> pa.Table:
    stamp = json.dumps([part, row, is_end]).encode()
    source = json.dumps([split.source.path, rows_before(split) + row + 1]).encode()
    metadata = table.schema.metadata or {}
    return table.replace_schema_metadata({**metadata, _KEY: stamp, SOURCE: source})


def read_stamp(table: pa.Table) -> tuple[int, int, bool, pa.Table]:
    """The split, the number of the first row within it, whether it has ended, and the table."""
    metadata: dict[bytes, Any] = dict(table.schema.metadata or {})
    if _KEY not in metadata:
        raise LostRowsError("a table came without the rows that it holds: its metadata was dropped")
    part, row, is_end = json.loads(metadata.pop(_KEY))
    metadata.pop(SOURCE, None)
    return part, row, is_end, table.replace_schema_metadata(metadata or None)
