"""Daft, Ray Data and Spark, each as its documentation has batch inference, with both cores.

The session's start, and a first run over a copy of the input's first rows, count as start-up: the
workers have their libraries imported, and the model loaded, when the work begins. Of each system
the fastest way was taken: for Daft threads of its own process and whole row groups, for Ray tasks
instead of actors, which start anew with each run; sizes of batches made no difference to Ray and
Spark between 4 k and 128 k rows.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.job import Job, Predictor
from benchmarks.jobs import find
from benchmarks.systems import Work

__all__ = ["daft", "ray", "spark"]

_WORKERS = 2
_ROWS = 16 * 1024
_FIRST_ROWS = 1000


def daft(job: Job, folder: Path, output: Path) -> Work:
    """A class with a batch method, in threads of this process, on whole row groups."""
    import daft

    daft.set_runner_native()
    names = pq.read_schema(job.inputs(folder)[0]).names
    kind = daft.DataType.from_arrow_type(_prediction_type(job, folder))

    @daft.cls
    class Model:
        def __init__(self, name: str, folder: str) -> None:
            self.predict = _predictor(name, folder, None)

        @daft.method.batch(return_dtype=kind)
        def __call__(self, *columns: daft.Series) -> pa.Array:
            arrays = [column.to_arrow() for column in columns]
            return self.predict(pa.table(dict(zip(names, arrays, strict=True))))

    def run(source: Path, target: Path) -> None:
        frame = daft.read_parquet(str(source / "*.parquet"))
        columns = [frame[name] for name in names]
        prediction = Model(job.name, str(folder))(*columns).alias("prediction")
        frame.select(frame["id"], prediction).write_parquet(str(target))

    return _warmed(run, job, folder, output)


def ray(job: Job, folder: Path, output: Path) -> Work:
    """A function in tasks, whose processes keep the model; actors would start with each run."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    import ray

    ray.init(num_cpus=_WORKERS, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def run(source: Path, target: Path) -> None:
        read = ray.data.read_parquet(str(source))
        scored = read.map_batches(
            functools.partial(_with_prediction, name=job.name, folder=str(folder)),
            batch_size=_ROWS,
            batch_format="pyarrow",
        )
        scored.write_parquet(str(target))

    return _warmed(run, job, folder, output)


def spark(job: Job, folder: Path, output: Path) -> Work:
    """``mapInArrow``: record batches in and out of Python workers that are kept."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession
    from pyspark.sql.pandas.types import from_arrow_type

    session = (
        SparkSession.builder.master(f"local[{_WORKERS}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", _ROWS)
        .getOrCreate()
    )
    kind = from_arrow_type(_prediction_type(job, folder)).simpleString()
    name, place = job.name, str(folder)

    def scored(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = _with_prediction(pa.Table.from_batches([batch]), name, place)
            yield from table.to_batches()

    def run(source: Path, target: Path) -> None:
        read = session.read.parquet(str(source))
        predicted = read.mapInArrow(scored, f"id bigint, prediction {kind}")
        predicted.write.mode("overwrite").parquet(str(target))

    return _warmed(run, job, folder, output)


def _warmed(run: Any, job: Job, folder: Path, output: Path) -> Work:
    if not job.is_whole_process:
        first = output.parent / "first-rows"
        (first / "input").mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(job.inputs(folder)):
            table = pq.ParquetFile(path).read_row_group(0).slice(0, _FIRST_ROWS)
            pq.write_table(table, first / "input" / f"part-{number}.parquet")
        run(first / "input", first / "output")
    return lambda: run(folder / "input", output)


def _prediction_type(job: Job, folder: Path) -> pa.DataType:
    table = pq.ParquetFile(job.inputs(folder)[0]).read_row_group(0).slice(0, 10)
    return _predictor(job.name, str(folder), 1)(table).type


def _with_prediction(table: pa.Table, name: str, folder: str) -> pa.Table:
    return table.select(["id"]).append_column("prediction", _predictor(name, folder, 1)(table))


@functools.cache
def _predictor(name: str, folder: str, threads: int | None) -> Predictor:
    """Where workers predict side by side, one thread each in the model's library."""
    job = find(name)
    return dataclasses.replace(job, threads=threads or job.threads).predictor(Path(folder))
