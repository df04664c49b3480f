"""What RunInference itself costs per example: the same pipeline with and without the transform."""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq

from benchmarks.job import Job
from benchmarks.jobs import frames, logistic, mlp, tensors

__all__ = ["JOBS", "RowPath", "beam", "parts", "timed", "untimed"]

_COMPARED_PART = 10
_MEASURED_S = 4.0
_PER_WINDOW = 2000
_WINDOW_S = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowPath(Job):
    """Examples in memory through one transform, into nothing.

    Attributes:
        of: the job whose model and examples these are.
        is_windowed: whether examples are in fixed windows of 2,000 each, or in the global one.
    """

    of: Job
    is_windowed: bool

    reference: ClassVar[str] = "beam-transform"

    def write(self, folder: Path, rows: int) -> None:
        """As the job that this is of."""
        self.of.write(folder, rows)


def timed(job: RowPath, folder: Path, output: Path) -> Callable[[], dict[str, Any]]:
    """This project's RunInference as it comes."""
    from runinference import RunInference

    return _measured(job, folder, lambda: RunInference(job.of.handler, **job.of.options(folder)))


def untimed(job: RowPath, folder: Path, output: Path) -> Callable[[], dict[str, Any]]:
    """The same with ``preserve_timestamps=False``."""
    from runinference import RunInference

    options = {"preserve_timestamps": False, **job.of.options(folder)}
    return _measured(job, folder, lambda: RunInference(job.of.handler, **options))


def beam(job: RowPath, folder: Path, output: Path) -> Callable[[], dict[str, Any]]:
    """Beam's own RunInference with its own handler."""
    from apache_beam.ml.inference.base import RunInference

    return _measured(job, folder, lambda: RunInference(job.of.beam_handler(folder)))


def parts(job: RowPath, folder: Path, output: Path) -> Callable[[], dict[str, Any]]:
    """What the step of ``timed`` adds, and what the handler takes of it."""
    from runinference import RunInference, create_handler

    examples = _examples(job, folder)
    options = job.of.options(folder)
    steps: dict[str, Callable[[], Any]] = {
        "source and sink": lambda: None,
        "RunInference": lambda: RunInference(job.of.handler, **options),
    }

    def work() -> dict[str, Any]:
        made, before = {}, 0.0
        _seconds(_part(examples), job.is_windowed, steps["RunInference"]())
        gc.freeze()  # as where the times are measured
        for name, make in steps.items():
            made[name] = _seconds(examples, job.is_windowed, make()) - before
            before += made[name]
        handler = create_handler(job.of.handler, **options)
        model = handler.load_model()
        start = time.perf_counter()
        for first in range(0, len(examples), _PER_WINDOW):
            list(handler.run_inference(examples[first : first + _PER_WINDOW], model))
        made["of which handler and model"] = time.perf_counter() - start
        per_example = {name: seconds / len(examples) for name, seconds in made.items()}
        return {"rows": len(examples), "parts": per_example}

    return work


def _measured(job: RowPath, folder: Path, make: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    examples = _examples(job, folder)

    def work() -> dict[str, Any]:
        # a part first, not measured: it imports what is imported late, and its outputs are compared
        predictions: list[float] = []
        _seconds(_part(examples), job.is_windowed, make(), predictions.append)
        # and what it imported, which some systems import before the examples and others after
        gc.freeze()
        differences: list[float] = []
        end = time.perf_counter() + _MEASURED_S
        while not differences or time.perf_counter() < end:
            without = _seconds(examples, job.is_windowed, None)
            differences.append(_seconds(examples, job.is_windowed, make()) - without)
        return {
            "seconds": statistics.median(differences),
            "rows": len(examples),
            "sums": [len(predictions), float(np.sum(predictions))],
        }

    return work


def _part(examples: list[Any]) -> list[Any]:
    return examples[: max(len(examples) // _COMPARED_PART, 1)]


def _examples(job: RowPath, folder: Path) -> list[Any]:
    from apache_beam.runners.worker.statesampler import StateSampler

    # At the end of a bundle Beam waits for a thread that sleeps for up to so many milliseconds, 200
    # of itself, in every system, with and without the transform: more noise than all else together.
    StateSampler.__init__.__defaults__ = (1,)
    if job.of.handler.startswith("torch"):
        import torch

        torch.set_num_threads(1)  # threads that wait for each other would drown what is measured
    examples: list[Any] = []
    for path in job.inputs(folder):
        examples += job.of.examples(pq.read_table(path))
    gc.freeze()  # what is alive before is not looked at again in the middle of a measurement
    return examples


_sources: dict[str, Sequence[Any]] = {}
_sinks: dict[str, Callable[[float], None]] = {}


def _seconds(
    examples: Sequence[Any],
    is_windowed: bool,
    step: Any,
    take: Callable[[float], None] | None = None,
) -> float:
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.window import FixedWindows

    _sources["examples"] = examples
    pipeline = beam.Pipeline(runner=FnApiRunner())
    found = pipeline | beam.Create([None], reshuffle=False) | beam.FlatMap(_timestamped)
    if is_windowed:
        found |= beam.WindowInto(FixedWindows(_WINDOW_S))
    if step is not None:
        found |= step
    if take is None:
        found | "Drop" >> beam.FlatMap(_nothing)
    else:
        _sinks["take"] = take
        found | "Take" >> beam.FlatMap(_taken)
    gc.collect()
    start = time.perf_counter()
    pipeline.run().wait_until_finish()
    return time.perf_counter() - start


def _timestamped(_: None) -> Iterator[Any]:
    from apache_beam.transforms.window import TimestampedValue

    for number, example in enumerate(_sources["examples"]):
        yield TimestampedValue(example, number * _WINDOW_S // _PER_WINDOW)


def _nothing(_: Any) -> Iterable[Any]:
    return ()


def _taken(result: Any) -> Iterable[Any]:
    _sinks["take"](float(result.inference))
    return ()


def _both(name: str, title: str, rows: int, of: Job) -> Iterator[RowPath]:
    for is_windowed in (False, True):
        suffix, windows = ("-fixed", "fixed windows") if is_windowed else ("", "global window")
        yield RowPath(
            name=f"{name}{suffix}",
            title=f"{title}, {windows}",
            rows=rows,
            quick_rows=200,
            systems=("beam-transform", "timed", "untimed", *(() if is_windowed else ("parts",))),
            peers=(),
            of=of,
            is_windowed=is_windowed,
        )


JOBS = (
    *_both("row-numpy", "sklearn-numpy, 16 floats", 200_000, logistic.JOBS[0]),
    *_both("row-tensor", "torch-tensor, 64 floats", 100_000, mlp.JOBS[0]),
    *_both("row-keyed", "torch-keyed, three tensors", 100_000, tensors.JOBS[0]),
    *_both("row-pandas", "sklearn-pandas, frames of one row", 50_000, frames.JOBS[0]),
)
