"""Streams of tiny bundles: how large calls of the model become, and what that does to speed.

``make bench-stream`` prints the two tables of ``docs/guides/streaming.md``, ours beside Beam's own
RunInference on the same random forest, by turns.

The first has the sizes of calls on Beam's bundle-based direct runner with TestStream, where batches
can wait across bundles; that runner sets a step up for each bundle, so that its speed says nothing.
The second is of a Redis stream on the embedded runner, which needs ``redis-server``: each
pipeline is a process, asked first with all messages at once and then at a steady rate.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import joblib
import numpy as np
import redis
from apache_beam.ml.inference import base
from apache_beam.ml.inference.sklearn_inference import ModelFileType, SklearnModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from runinference import BatchConfig, KeyedModelHandler, RunInference
from runinference_sklearn import SklearnModelHandlerNumpy as OurHandler

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "stream"
sys.path.append(str(EXAMPLE))

from ask import ask  # noqa: E402 - found through the line above
from redis_stream import ReadMessages, WriteMessages  # noqa: E402

__all__ = ["JOBS", "main"]

JOBS = ()
BUNDLES = (1, 10, 100)
_FULL = 100
_WAIT_S = 1.0
_calls: list[int] = []


class CountedOurs(OurHandler):
    """Notes the size of each call."""

    def run_inference(self, batch: Any, model: Any, inference_args: Any = None) -> Any:
        """As it is."""
        _calls.append(len(batch))
        return super().run_inference(batch, model, inference_args)


class CountedBeams(SklearnModelHandlerNumpy):
    """Notes the size of each call."""

    def run_inference(self, batch: Any, model: Any, inference_args: Any = None) -> Any:
        """As it is."""
        _calls.append(len(batch))
        return super().run_inference(batch, model, inference_args)


def main() -> None:
    """Print the tables, or be a pipeline."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs.tiny_bundles")
    parser.add_argument("--bundles", type=int, default=100, help="of each pipeline")
    parser.add_argument("--seconds", type=float, default=5.0, help="at the steady rate")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.serve is not None:
        system, model, url, most = told.serve
        _serve(system, model, url, int(most))
        return
    pixels, labels = load_digits(return_X_y=True)
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder, "digits.joblib"))
        # a call of a forest costs milliseconds, however few examples it has
        joblib.dump(RandomForestClassifier(100, random_state=0).fit(pixels, labels), model)
        _print_batches(model, pixels)
        if shutil.which("redis-server") is None:
            raise SystemExit("redis-server is not installed: `apt-get install redis-server`")
        with _redis(folder) as url:
            _print_stream(model, url, pixels, told)


def _print_batches(model: str, pixels: Any) -> None:
    waits = {"min_batch_size": _FULL, "max_batch_size": _FULL, "max_batch_duration_secs": _WAIT_S}
    waiting = BatchConfig(min_size=_FULL, max_size=_FULL, max_wait_s=_WAIT_S)
    systems: dict[str, Callable[[], Any]] = {
        "ours": lambda: RunInference(CountedOurs(model)),
        "ours, max_wait_s": lambda: RunInference(CountedOurs(model), batching=waiting),
        "Beam's": lambda: base.RunInference(CountedBeams(model, ModelFileType.JOBLIB)),
        "Beam's, max_batch_duration_secs": lambda: base.RunInference(
            CountedBeams(model, ModelFileType.JOBLIB, **waits)
        ),
    }
    print(f"| RunInference | {' | '.join(f'bundles of {bundle}' for bundle in BUNDLES)} |")
    print(f"| --- {'| --- ' * len(BUNDLES)}|")
    for name, make in systems.items():
        sizes = [_examples_of_a_call(pixels, bundle, make()) for bundle in BUNDLES]
        print(f"| {name} | {' | '.join(f'{size:,.1f}' for size in sizes)} |", flush=True)
    print()


def _examples_of_a_call(pixels: Any, bundle: int, step: Any) -> float:
    examples = list(pixels[: max(2 * _FULL, 10 * bundle)])
    stream = TestStream().advance_watermark_to(0)
    for start in range(0, len(examples), bundle):
        stream = stream.add_elements(examples[start : start + bundle])
    _calls.clear()
    with beam.Pipeline(BundleBasedDirectRunner(), PipelineOptions([], streaming=True)) as pipeline:
        _ = pipeline | stream.advance_watermark_to_infinity() | step
    assert sum(_calls) == len(examples)
    return statistics.mean(_calls)


def _print_stream(model: str, url: str, pixels: Any, told: Any) -> None:
    kinds = list(itertools.product(BUNDLES, ("ours", "beam")))
    found: dict[tuple[int, str], list[tuple[float, ...]]] = {kind: [] for kind in kinds}
    for repetition in range(told.repetitions):
        # there and back, so that none is always the first on a machine that has just begun
        for most, system in kinds if repetition % 2 == 0 else reversed(kinds):
            found[most, system].append(_of_stream(system, model, url, most, pixels, told))
    print(
        "| most of a bundle | RunInference | all at once, examples/s | "
        f"{told.rate:g} a second: median | p99 |"
    )
    print("| --- | --- | --- | --- | --- |")
    for (most, system), runs in found.items():
        rate, median, p99 = map(statistics.median, zip(*runs, strict=True))
        name = "ours" if system == "ours" else "Beam's"
        print(f"| {most} | {name} | {rate:,.0f} | {1000 * median:,.0f} ms | {1000 * p99:,.0f} ms |")


def _of_stream(
    system: str, model: str, url: str, most: int, pixels: Any, told: Any
) -> tuple[float, ...]:
    client = redis.Redis.from_url(url)
    client.flushall()
    command = [sys.executable, "-m", "benchmarks.jobs.tiny_bundles"]
    command += ["--serve", system, model, url, str(most)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        ask(url, 50, 100)  # everything is imported, and has been called
        examples = told.bundles * most
        texts = [json.dumps(row.tolist()) for row in pixels]
        together = client.pipeline(transaction=False)
        for number in range(examples):
            together.xadd("digits", {"pixels": texts[number % len(texts)]})
        first = client.xlen("predictions")
        start_s = time.perf_counter()
        together.execute()
        while client.xlen("predictions") < first + examples:
            assert process.poll() is None
            time.sleep(0.002)
        seconds = time.perf_counter() - start_s
        report = ask(url, int(told.seconds * told.rate), told.rate)
        assert not report.unanswered
    finally:
        process.kill()
        process.wait()
    return examples / seconds, report.quantile(0.5), report.quantile(0.99)


def _serve(system: str, model: str, url: str, most: int) -> None:
    step: Any
    if system == "ours":
        step = RunInference(KeyedModelHandler(OurHandler(model)))
    else:
        handler = SklearnModelHandlerNumpy(model, ModelFileType.JOBLIB)
        step = base.RunInference(base.KeyedModelHandler(handler))
    pipeline = beam.Pipeline(FnApiRunner(), PipelineOptions([], streaming=True))
    _ = (
        pipeline
        | ReadMessages(url, "digits", most=most)
        | beam.MapTuple(_parse)
        | step
        | "Answer" >> beam.MapTuple(_answer)
        | "Write" >> beam.ParDo(WriteMessages(url, "predictions"))
    )
    pipeline.run().wait_until_finish()


def _parse(id_: str, fields: dict[str, str]) -> tuple[str, Any]:
    return id_, np.array(json.loads(fields["pixels"]))


def _answer(id_: str, result: Any) -> dict[str, Any]:
    return {"id": id_, "digit": int(result.inference), "model": str(result.model_id)}


@contextlib.contextmanager
def _redis(folder: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            while server.poll() is None:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    # by its name: a handler that is pickled with the main module would note calls elsewhere
    importlib.import_module("benchmarks.jobs.tiny_bundles").main()
