"""Predict the messages of a Redis stream as they come, and write the predictions to another one.

    python score_stream.py MODEL [--watch 'models/*.skops']

Reads ``digits``, whose messages have a field ``pixels`` with 64 numbers in JSON, and writes
``predictions``, whose messages have the fields ``id`` (of the message that was read), ``digit`` and
``model``; those that cannot be predicted have ``id`` and ``error``, and go to ``failures``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from redis_stream import ReadMessages, WriteMessages

from runinference import Failure, KeyedModelHandler, PredictionResult, RunInference, create_handler


def pixels_of(fields: dict[str, str]) -> np.ndarray:
    """An example of the model; one that cannot be made leaves as a failure."""
    return np.array(json.loads(fields["pixels"]), dtype=np.float64)


def as_answer(id_: str, result: PredictionResult) -> dict[str, Any]:
    """The message that tells a prediction."""
    return {"id": id_, "digit": int(result.inference), "model": result.model_id}


def as_failure(failure: Failure) -> dict[str, Any]:
    """The message that tells of a failure."""
    return {"id": failure.key, "error": f"{failure.type}: {failure.message}"}


def scoring(arguments: Sequence[str] | None = None) -> beam.Pipeline:
    """The pipeline that a command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="of scikit-learn, in the skops format")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    parser.add_argument("--watch", metavar="PATTERN", help="the newest of these is the model")
    parser.add_argument("--refresh-s", type=float, default=5.0, help="between two looks at them")
    parser.add_argument("--consumer", default="reader", help="another name for each that runs")
    parser.add_argument("--most", type=int, default=100, help="messages of one bundle")
    parser.add_argument("--stop-when-idle-s", type=float, help="end when no message came so long")
    told = parser.parse_args(arguments)
    source = ReadMessages(
        told.redis,
        "digits",
        consumer=told.consumer,
        most=told.most,
        stop_when_idle_s=told.stop_when_idle_s,
    )
    handler = create_handler("sklearn-numpy", model_uri=told.model)
    keyed = KeyedModelHandler(handler.with_preprocess_fn(pixels_of))
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([], streaming=True))
    step = RunInference(keyed, watch_model_pattern=told.watch, refresh_interval_s=told.refresh_s)
    # a message is its id, which the model does not see, and its fields
    predictions, dead = pipeline | source | step.with_exception_handling()
    (
        predictions
        | "Answer" >> beam.MapTuple(as_answer)
        | "Write predictions" >> beam.ParDo(WriteMessages(told.redis, "predictions"))
    )
    # not flattened: that would be another stage, behind which messages are acknowledged too early
    [unreadable] = dead.failed_preprocessing
    for name, failed in (("unreadable", unreadable), ("unpredicted", dead.failed_inferences)):
        (
            failed
            | f"Tell {name}" >> beam.Map(as_failure)
            | f"Write {name}" >> beam.ParDo(WriteMessages(told.redis, "failures"))
        )
    return pipeline


if __name__ == "__main__":
    scoring().run().wait_until_finish()  # until it is ended, or the stream is idle
