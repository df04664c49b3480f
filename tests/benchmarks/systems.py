"""The systems of the project's own environment: loops by hand, this project, Beam's RunInference.

Each prepares itself (imports, sessions), which counts as its start-up, and returns the work: from
the Parquet files of a job's input, the model's file included, to Parquet files with the columns
``id`` and ``prediction``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.job import Job, Predictor

__all__ = ["SYSTEMS", "Work", "prepare"]

T = TypeVar("T")
Work = Callable[[], "dict[str, Any] | None"]

_ROWS = pa.schema([("id", pa.int64()), ("prediction", pa.float64())])
_AHEAD = 2


def prepare(job: Job, system: str, folder: Path, output: Path) -> Work:
    """What to measure.

    Args:
        job: what is done.
        system: its name.
        folder: with the input and the model.
        output: a folder for the results, which is there and empty.
    """
    module, name = SYSTEMS[system].split(":")
    made: Work = getattr(importlib.import_module(module), name)(job, folder, output)
    return made


def loop(job: Job, folder: Path, output: Path) -> Work:
    """One row group at a time: read, predict, write."""
    _import_libraries(job, folder)

    def work() -> None:
        predict = job.predictor(folder)
        if job.reads_all:
            table = pq.read_table(job.inputs(folder))
            pq.write_table(_scored(job, predict, table), output / "part-0.parquet")
            return
        for path in job.inputs(folder):
            _write(output / path.name, (_scored(job, predict, table) for table in _groups(path)))

    return work


def overlapped(job: Job, folder: Path, output: Path) -> Work:
    """The same with a thread that reads ahead and one that writes."""
    _import_libraries(job, folder)

    def work() -> None:
        predict = job.predictor(folder)
        for path in job.inputs(folder):
            scored = (_scored(job, predict, table) for table in _ahead(_groups(path)))
            writing: queue.Queue[pa.Table | None] = queue.Queue(_AHEAD)
            tables: Iterator[pa.Table] = iter(writing.get, None)
            writer = threading.Thread(target=_write, args=(output / path.name, tables))
            writer.start()
            for table in scored:
                writing.put(table)
            writing.put(None)
            writer.join()

    return work


def tables(job: Job, folder: Path, output: Path) -> Work:
    """This project's command line, with everything imported that it imports as it runs."""
    from runinference.registry import handler_class

    _import_libraries(job, folder)
    for name in ("docstring_parser", "attrs"):  # by jsonargparse
        importlib.import_module(name)
    importlib.import_module("runinference_cli.options")
    importlib.import_module("runinference_cli.score")
    handler_class(job.handler)

    def work() -> None:
        from runinference_cli.main import main

        if main(job.command(folder, output)) != 0:
            raise RuntimeError("runinference score failed")

    return work


def rows(job: Job, folder: Path, output: Path) -> Work:
    """This project's RunInference on examples with keys."""
    from runinference import Execution, KeyedModelHandler, RunInference, create_handler

    _import_libraries(job, folder)

    def work() -> None:
        handler = create_handler(job.handler, **_options(job, folder))
        step = RunInference(
            KeyedModelHandler(handler),
            execution=Execution(threads=job.threads),
        )
        _run_rows(job, folder, output, step)

    return work


def beam(job: Job, folder: Path, output: Path) -> Work:
    """Beam's own RunInference on examples with keys, with its own handler."""
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

    _import_libraries(job, folder)
    job.beam_handler(folder)

    def work() -> None:
        step = RunInference(KeyedModelHandler(job.beam_handler(folder)))
        _run_rows(job, folder, output, step)

    return work


SYSTEMS = {
    "loop": "benchmarks.systems:loop",
    "overlapped": "benchmarks.systems:overlapped",
    "tables": "benchmarks.systems:tables",
    "rows": "benchmarks.systems:rows",
    "beam": "benchmarks.systems:beam",
    "timed": "benchmarks.jobs.row_path:timed",
    "untimed": "benchmarks.jobs.row_path:untimed",
    "beam-transform": "benchmarks.jobs.row_path:beam",
    "parts": "benchmarks.jobs.row_path:parts",
    "daft": "benchmarks.peers:daft",
    "ray": "benchmarks.peers:ray",
    "spark": "benchmarks.peers:spark",
}
"""Where each system is, as ``module:function``."""


def _run_rows(job: Job, folder: Path, output: Path, step: Any) -> None:
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | beam.io.ReadFromParquetBatched(str(folder / "input" / "*.parquet"))
            | "Examples" >> beam.FlatMap(functools.partial(_keyed_examples, job))
            | step
            | "Rows" >> beam.Map(_as_row)
            | beam.io.WriteToParquet(str(output / "part"), _ROWS, file_name_suffix=".parquet")
        )


def _keyed_examples(job: Job, table: pa.Table) -> Iterable[tuple[int, Any]]:
    return zip(table.column("id").to_pylist(), job.examples(table), strict=True)


def _as_row(pair: tuple[int, Any]) -> dict[str, Any]:
    key, result = pair
    inference = result.inference
    return {"id": key, "prediction": inference.item() if hasattr(inference, "item") else inference}


def _options(job: Job, folder: Path) -> dict[str, Any]:
    options = job.options(folder)
    if "padding" in options:
        from runinference_pytorch import Padding

        options["padding"] = Padding(**options["padding"])
    return options


def _import_libraries(job: Job, folder: Path) -> None:
    """The model's libraries, by loading it once: an import is no part of the work."""
    job.predictor(folder)


def _scored(job: Job, predict: Predictor, table: pa.Table) -> pa.Table:
    predicted = pa.chunked_array([predict(piece) for piece in job.in_calls(table)])
    return table.select(["id"]).append_column("prediction", predicted)


def _groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _write(path: Path, tables: Iterable[pa.Table]) -> None:
    with contextlib.ExitStack() as stack:
        writer = None
        for table in tables:
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, made in a thread before they are asked for."""
    made: queue.Queue[T | None] = queue.Queue(_AHEAD)

    def make() -> None:
        for item in items:
            made.put(item)
        made.put(None)

    threading.Thread(target=make, daemon=True).start()
    return iter(made.get, None)
