"""The pipeline of a run: read tables, predict, write tables, and tell what was written.

A table carries in its schema's metadata which rows of which file it holds, since the steps between
reading and writing pass on nothing else. The writer makes sure that each file's rows are complete
and in order.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from runinference.errors import RunInferenceError
from runinference_cli.input_file import Source
from runinference_cli.readers import read_blocks
from runinference_cli.writers import SUFFIXES, PartWriter

__all__ = [
    "LostRowsError",
    "ReadTables",
    "WriteManifest",
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
    """A file of results: the rows of one input file."""

    part: int
    file: str
    rows: int
    columns: str


def rows_in_flight() -> str:
    """The rows that this thread has read and not yet written; "" where there are none.

    In a worker that reads, predicts and writes in one thread, the batch that fails is among them.
    """
    blocks: dict[tuple[int, int], str] = getattr(_thread, "blocks", {})
    names = list(blocks.values())
    if len(names) > 2:
        return f"{names[0]} to {names[-1]}"
    return " and ".join(names)


class ReadTables(beam.DoFn):
    """From the number of a file to its rows, and an empty table that says that they were all."""

    def __init__(
        self, sources: Sequence[Source], schema: pa.Schema, columns: Sequence[str] | None
    ) -> None:
        self._sources = sources
        self._schema = schema
        self._columns = columns

    def start_bundle(self) -> None:
        """Nothing of an earlier bundle is on its way."""
        _thread.blocks = {}

    def process(self, part: int) -> Iterable[pa.Table]:
        """The tables of one file."""
        source = self._sources[part]
        row = 0
        for block in read_blocks(source, self._schema, self._columns):
            name = f"{source.path} (rows {row + 1} to {row + block.num_rows})"
            _thread.blocks[part, row] = name
            yield _stamp(block, part, row, is_end=False)
            row += block.num_rows
        if source.rows is not None and row != source.rows:
            raise LostRowsError(f"{source.path}: read {row} rows of {source.rows}")
        schema = self._schema.empty_table()
        empty = schema if self._columns is None else schema.select(list(self._columns))
        yield _stamp(empty, part, row, is_end=True)


class WriteTables(beam.DoFn):
    """From tables to one file per input file, under a name of its own per attempt."""

    def __init__(self, folder: str, file_format: str) -> None:
        self._folder = folder
        self._format = file_format
        self._open: dict[int, PartWriter] = {}

    def start_bundle(self) -> None:
        """Forget the files of a bundle that failed."""
        self.teardown()

    def process(self, table: pa.Table) -> Iterable[Written]:
        """Append a table; a file that is complete leaves."""
        part, row, is_end, table = _read_stamp(table)
        getattr(_thread, "blocks", {}).pop((part, row), None)
        writer = self._open.get(part)
        if writer is None:
            name = f"part-{part:05d}-{uuid.uuid4().hex}{SUFFIXES[self._format]}"
            writer = self._open[part] = PartWriter(Path(self._folder, name), self._format)
        if row != writer.rows:
            raise LostRowsError(
                f"file {part}: rows from {row} on came after {writer.rows} rows were written"
            )
        if not is_end:
            writer.write(table)
            return
        if not writer.rows:
            writer.write(table)
        writer.close()
        del self._open[part]
        yield Written(part, writer.path.name, writer.rows, writer.schema)

    def finish_bundle(self) -> None:
        """Hold every file to be complete."""
        if self._open:
            raise LostRowsError(f"file {min(self._open)}: its last rows did not arrive")

    def teardown(self) -> None:
        """Let go of files that stay incomplete."""
        for writer in self._open.values():
            writer.abort()
        self._open = {}


class WriteManifest(beam.DoFn):
    """Leaves the list of complete files where the program that started the run finds it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, written: Sequence[Written]) -> None:
        """Write the list, whole or not at all."""
        attempt = Path(f"{self._path}.{uuid.uuid4().hex}")
        attempt.write_text(json.dumps(sorted(written)))
        attempt.rename(self._path)


def read_manifest(path: Path, sources: Sequence[Source]) -> list[Written]:
    """The files that the pipeline wrote, one per source, in their order.

    Raises:
        LostRowsError: there is none, or it lacks a source.
    """
    if not path.exists():
        raise LostRowsError(
            f"the workers left no results in {str(path.parent)!r}: with a runner on other "
            "machines, --output has to be in a folder that all of them share"
        )
    written = [Written(*entry) for entry in json.loads(path.read_text())]
    if [entry.part for entry in written] != list(range(len(sources))):
        raise LostRowsError(f"{len(sources)} files were read and {len(written)} written")
    return written


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
