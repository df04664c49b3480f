"""Write the tables of a run, one file per split, and tell what was written.

The writer makes sure that each split's rows come in order, and the manifests that every row that
was read is there: scored, or failed.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import apache_beam as beam
import pyarrow as pa

from runinference_cli.background import InOrder
from runinference_cli.pipeline import LostRowsError, arrived, read_stamp
from runinference_cli.splits import Split
from runinference_cli.stages import stage
from runinference_cli.writers import SUFFIXES, PartWriter

__all__ = ["WriteTables", "Written", "read_manifest"]


class Written(NamedTuple):
    """A file of results: the rows of one split.

    Attributes:
        part: the split's number.
        file: the file's name.
        rows: in the file.
        columns: of the file, with their types.
        read: rows of the split; None where the file holds the failed ones.
    """

    part: int
    file: str
    rows: int
    columns: str
    read: int | None


class WriteTables(beam.DoFn):
    """From tables to one file per split, under a name of its own per attempt.

    Files are written by a thread of this step. At the end of a bundle, when they are complete, a
    list of them is put into the manifest's folder. A bundle that a runner makes twice lists its
    parts twice, each time with files that are complete.

    Args:
        folder: for the files.
        manifest: for the lists.
        file_format: of the files.
        rows: ``"all"``, or where failed rows leave on their own, the ``"scored"`` or ``"failed"``.
    """

    def __init__(
        self,
        folder: str,
        manifest: str,
        file_format: str,
        rows: Literal["all", "scored", "failed"] = "all",
    ) -> None:
        self._folder = folder
        self._rows = rows
        self._manifest = manifest
        self._format = file_format
        self._open: dict[int, PartWriter] = {}
        self._next: dict[int, int] = {}
        self._written: list[Written] = []
        self._behind: InOrder | None = None

    def start_bundle(self) -> None:
        """Forget the files of a bundle that failed."""
        self.teardown()
        self._behind = InOrder()

    def process(self, table: pa.Table) -> None:
        """Append a table to its file, in the background."""
        assert self._behind is not None
        part, row, is_end, table = read_stamp(table)
        arrived(part, row)
        self._behind.submit(functools.partial(self._write, part, row, is_end, table))

    def finish_bundle(self) -> None:
        """List the files, once all are complete."""
        assert self._behind is not None
        self._behind.flush()
        if self._rows == "failed":  # of which nobody says that there are no more
            for part in sorted(self._open):
                self._complete(part, None)
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
        self._open, self._next, self._written = {}, {}, []

    def _write(self, part: int, row: int, is_end: bool, table: pa.Table) -> None:
        writer = self._open.get(part)
        if writer is None:
            name = f"part-{part:05d}-{uuid.uuid4().hex}{SUFFIXES[self._format]}"
            writer = self._open[part] = PartWriter(Path(self._folder, name), self._format)
        due = self._next.get(part, 0)
        if row < due or (row > due and self._rows == "all"):
            raise LostRowsError(f"part {part}: rows from {row} on came after {due} rows")
        self._next[part] = row + table.num_rows
        with stage("write"):
            if not is_end or not writer.rows:
                writer.write(table)
            if is_end:
                self._complete(part, row)

    def _complete(self, part: int, read: int | None) -> None:
        writer = self._open.pop(part)
        del self._next[part]
        writer.close()
        self._written.append(Written(part, writer.path.name, writer.rows, writer.schema, read))


def read_manifest(
    folder: Path, splits: Sequence[Split], failures: Path | None = None
) -> tuple[list[Written], list[Written]]:
    """The files that the pipeline wrote, in the order of the splits: scored rows, and failed ones.

    Args:
        folder: of the lists of scored rows, of which there is a file for each split.
        splits: that were read.
        failures: of the lists of failed rows, where they leave on their own.

    Raises:
        LostRowsError: a split is missing, or its rows in both files are not as many as were read.
    """
    scored = _listed(folder)
    failed = {} if failures is None else _listed(failures)
    if not scored:
        raise LostRowsError(
            f"the workers left no results in {str(folder.parent)!r}: with a runner on other "
            "machines, --output has to be in a folder that all of them share"
        )
    if sorted(scored) != list(range(len(splits))):
        raise LostRowsError(f"{len(splits)} parts were to be written, and {len(scored)} were")
    for part, split in enumerate(splits):
        rows = scored[part].rows + (failed[part].rows if part in failed else 0)
        if rows != scored[part].read or (split.rows is not None and rows != split.rows):
            read = split.rows if split.rows is not None else scored[part].read
            raise LostRowsError(f"{split.source.path}: {rows} rows of {read} were written")
    in_order = [scored[part] for part in range(len(splits))]
    return in_order, [failed[part] for part in sorted(failed)]


def _listed(folder: Path) -> dict[int, Written]:
    lists = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    return {entry[0]: Written(*entry) for entries in lists for entry in entries}
