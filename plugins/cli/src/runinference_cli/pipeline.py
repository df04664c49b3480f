"""The pipeline of a run: read tables, predict, write tables, and tell what was written.

A table carries in its schema's metadata which rows of which split it holds, since the steps between
reading and writing pass on nothing else. The writer makes sure that each split's rows are complete
and in order, and the manifest that every split is there.
"""

from __future__ import annotations

import functools
import json
import threading
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from runinference.errors import RunInferenceError
from runinference_cli.background import InOrder, ahead
from runinference_cli.readers import read_blocks
from runinference_cli.splits import Split, rows_before
from runinference_cli.writers import SUFFIXES, PartWriter

__all__ = [
    "LostRowsError",
    "ReadTables",
    "WriteTables",
    "Written",
    "read_manifest",
    "rows_in_flight",
]

_KEY = b"runinference_cli.rows"
_thread = threading.local()


class LostRowsError(RunInferenceError):
    """Rows were read that were not written, or the other way round."""


class Written(NamedTuple):
    """A file of results: the rows of one split."""

    part: int
    file: str
    rows: int
    columns: str


def rows_in_flight() -> str:
    """The rows that this thread predicts: read, and not yet to be written; "" where there are none.

    In a worker that predicts in the thread that reads, the batch that fails is among them.
    """
    blocks: dict[tuple[int, int], _Block] = getattr(_thread, "blocks", {})
    if len(blocks) > 2:
        first, *_, last = blocks.values()
        return f"{_name(first)} to {_name(last)}"
    return " and ".join(map(_name, blocks.values()))


class ReadTables(beam.DoFn):
    """From splits to their rows, and behind each one's an empty table that says that it was all.

    Blocks are read ahead, by a thread of this step.
    """

    def __init__(self, schema: pa.Schema, columns: Sequence[str] | None) -> None:
        self._schema = schema
        self._columns = columns
        self._blocks: Generator[tuple[pa.Table, _Block | None], None, None] | None = None

    def start_bundle(self) -> None:
        """Nothing of an earlier bundle is on its way."""
        self.teardown()
        _thread.blocks = {}

    def process(self, splits: Sequence[tuple[int, Split]]) -> Iterable[pa.Table]:
        """The tables of numbered splits, one split after the other."""
        self._blocks = ahead(self._read(splits))
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
        self, splits: Sequence[tuple[int, Split]]
    ) -> Iterator[tuple[pa.Table, _Block | None]]:
        schema = self._schema.empty_table()
        empty = schema if self._columns is None else schema.select(list(self._columns))
        for part, split in splits:
            row = 0
            for table in read_blocks(split, self._schema, self._columns):
                yield (
                    _stamp(table, part, row, is_end=False),
                    _Block(part, row, table.num_rows, split),
                )
                row += table.num_rows
            if split.rows is not None and row != split.rows:
                raise LostRowsError(f"{split.source.path}: read {row} rows of {split.rows}")
            yield _stamp(empty, part, row, is_end=True), None


class WriteTables(beam.DoFn):
    """From tables to one file per split, under a name of its own per attempt.

    Files are written by a thread of this step. At the end of a bundle, when they are complete, a
    list of them is put into the manifest's folder. A bundle that a runner makes twice lists its
    parts twice, each time with files that are complete.
    """

    def __init__(self, folder: str, manifest: str, file_format: str) -> None:
        self._folder = folder
        self._manifest = manifest
        self._format = file_format
        self._open: dict[int, PartWriter] = {}
        self._written: list[Written] = []
        self._behind: InOrder | None = None

    def start_bundle(self) -> None:
        """Forget the files of a bundle that failed."""
        self.teardown()
        self._behind = InOrder()

    def process(self, table: pa.Table) -> None:
        """Append a table to its file, in the background."""
        assert self._behind is not None
        part, row, is_end, table = _read_stamp(table)
        getattr(_thread, "blocks", {}).pop((part, row), None)
        self._behind.submit(functools.partial(self._write, part, row, is_end, table))

    def finish_bundle(self) -> None:
        """List the files, once all are complete."""
        assert self._behind is not None
        self._behind.flush()
        if self._open:
            raise LostRowsError(f"part {min(self._open)}: its last rows did not arrive")
        attempt = Path(self._folder, f"list-{uuid.uuid4().hex}.json")
        attempt.write_text(json.dumps(self._written))
        attempt.rename(Path(self._manifest, attempt.name))
        self._written = []

    def teardown(self) -> None:
        """End the thread, and let go of files that stay incomplete."""
        if self._behind is not None:
            self._behind.stop()
            self._behind = None
        for writer in self._open.values():
            writer.abort()
        self._open, self._written = {}, []

    def _write(self, part: int, row: int, is_end: bool, table: pa.Table) -> None:
        writer = self._open.get(part)
        if writer is None:
            name = f"part-{part:05d}-{uuid.uuid4().hex}{SUFFIXES[self._format]}"
            writer = self._open[part] = PartWriter(Path(self._folder, name), self._format)
        if row != writer.rows:
            raise LostRowsError(
                f"part {part}: rows from {row} on came after {writer.rows} rows were written"
            )
        if not is_end:
            writer.write(table)
            return
        if not writer.rows:
            writer.write(table)
        writer.close()
        del self._open[part]
        self._written.append(Written(part, writer.path.name, writer.rows, writer.schema))


def read_manifest(folder: Path, splits: Sequence[Split]) -> list[Written]:
    """The files that the pipeline wrote, one per split, in their order.

    Raises:
        LostRowsError: there are none, or they lack a split or some of its rows.
    """
    lists = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    if not lists:
        raise LostRowsError(
            f"the workers left no results in {str(folder.parent)!r}: with a runner on other "
            "machines, --output has to be in a folder that all of them share"
        )
    parts = {entry[0]: Written(*entry) for entries in lists for entry in entries}
    if sorted(parts) != list(range(len(splits))):
        raise LostRowsError(f"{len(splits)} parts were to be written, and {len(parts)} were")
    written = [parts[number] for number in range(len(splits))]
    for entry, split in zip(written, splits, strict=True):
        if split.rows is not None and entry.rows != split.rows:
            raise LostRowsError(
                f"{split.source.path}: {entry.rows} rows of {split.rows} were written"
            )
    return written


class _Block(NamedTuple):
    """Rows on their way, counted within their split."""

    part: int
    row: int
    rows: int
    split: Split


def _name(block: _Block) -> str:
    first = rows_before(block.split) + block.row
    return f"{block.split.source.path} (rows {first + 1} to {first + block.rows})"


def _stamp(table: pa.Table, part: int, row: int, *, is_end: bool) -> pa.Table:
    metadata = table.schema.metadata or {}
    stamp = json.dumps([part, row, is_end]).encode()
    return table.replace_schema_metadata({**metadata, _KEY: stamp})


def _read_stamp(table: pa.Table) -> tuple[int, int, bool, pa.Table]:
    metadata: dict[bytes, Any] = dict(table.schema.metadata or {})
    if _KEY not in metadata:
        raise LostRowsError("a table came without the rows that it holds: its metadata was dropped")
    part, row, is_end = json.loads(metadata.pop(_KEY))
    return part, row, is_end, table.replace_schema_metadata(metadata or None)
