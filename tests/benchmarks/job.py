"""What a benchmark is: inputs, a model, and how each system is to ask it.

Imported in the environments of all systems: nothing here or at the top of a job's file imports more
than numpy and pyarrow.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["OURS", "PEERS", "Job", "Predictor"]

Predictor = Callable[[pa.Table], pa.Array]
"""From a table with the features to one prediction per row, in order."""

PEERS = ("daft", "ray", "spark")
OURS = ("tables", "rows", "timed", "untimed")

_FILES = 4
_ROW_GROUP = 128 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job of one kind; a subclass says what its inputs and its model are.

    Attributes:
        name: on the command line, and of its folder and results.
        title: in the page of results.
        rows: of the input.
        quick_rows: of the input where only the harness is tried out.
        systems: measured in the project's own environment, by turns.
        peers: measured in theirs, each time together with the loop.
        threads: of the model's library; None for its own default.
    """

    name: str
    title: str
    rows: int
    quick_rows: int
    systems: Sequence[str] = ("loop", "overlapped", "tables", "rows", "beam")
    peers: Sequence[str] = PEERS
    threads: int | None = None

    reference: ClassVar[str] = "loop"
    handler: ClassVar[str]
    is_whole_process: ClassVar[bool] = False
    loop_rows: ClassVar[int | None] = None
    """Rows of one call in the loop, the fastest of those tried; a whole row group where None."""
    features: ClassVar[Sequence[str]] = ()
    """What the command line is told; where empty, it finds the features itself."""
    reads_all: ClassVar[bool] = False
    """Whether the loop reads all rows before it predicts, instead of one row group at a time."""

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Rows of the input: an int64 column ``id`` that counts from ``first``, and features."""
        raise NotImplementedError

    def write_model(self, folder: Path) -> None:
        """The model's files, for all systems."""
        raise NotImplementedError

    def predictor(self, folder: Path) -> Predictor:
        """The model, loaded and called by hand."""
        raise NotImplementedError

    def options(self, folder: Path) -> dict[str, Any]:
        """What our handler's constructor takes."""
        raise NotImplementedError

    def examples(self, table: pa.Table) -> Sequence[Any]:
        """The rows of a table as examples of both Beam's handler and ours."""
        raise NotImplementedError

    def beam_handler(self, folder: Path) -> Any:
        """Beam's own handler for the same model."""
        raise NotImplementedError

    def write(self, folder: Path, rows: int) -> None:
        """Inputs and model, equal each time: ``folder/input/*.parquet`` and the model's files."""
        rng = np.random.default_rng(20_250)
        self.write_model(folder)
        (folder / "input").mkdir()
        per_file = -(-rows // _FILES)
        group = min(_ROW_GROUP, -(-per_file // 2))
        for number in range(_FILES):
            last = min(rows, (number + 1) * per_file)
            path = folder / "input" / f"part-{number}.parquet"
            schema = self.table(np.random.default_rng(0), 0, 1).schema
            with pq.ParquetWriter(path, schema) as writer:
                for first in range(number * per_file, last, group):
                    writer.write_table(self.table(rng, first, min(group, last - first)))

    def command(self, folder: Path, output: Path) -> list[str]:
        """Arguments of the command line."""
        arguments = ["score", "--handler", self.handler, "--quiet", "--keep", "id"]
        for name, value in self.options(folder).items():
            arguments += [
                f"--handler.{name}",
                value if isinstance(value, str) else json.dumps(value),
            ]
        if self.threads is not None:
            arguments += ["--execution.threads", str(self.threads)]
        if self.features:
            arguments += ["--features", *self.features]
        return [*arguments, "--input", str(folder / "input"), "--output", str(output)]

    def process(self, system: str, folder: Path, output: Path) -> list[str] | None:
        """A command to measure instead of the worker that runs a system."""
        return None

    def inputs(self, folder: Path) -> list[Path]:
        """The files of the input, in order."""
        return sorted((folder / "input").glob("*.parquet"))

    def in_calls(self, table: pa.Table) -> Iterator[pa.Table]:
        """A table in pieces of the loop's size."""
        size = self.loop_rows or max(table.num_rows, 1)
        for start in range(0, table.num_rows, size):
            yield table.slice(start, size)
