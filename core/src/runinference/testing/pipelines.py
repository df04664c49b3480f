"""Checks: the handler runs where it is meant to, in a pipeline and in another process."""

from __future__ import annotations

import uuid
from typing import Any

from runinference.keyed import KeyedModelHandler
from runinference.testing.interpreter import ChildError, run_child
from runinference.testing.subject import Subject, fail

__all__ = ["check_runs_in_a_pipeline", "check_runs_in_another_process"]

_collected: dict[str, dict[int, Any]] = {}

_ASK = """
from apache_beam.internal import pickler
from runinference.outputs import read_predictions
handler, examples, inference_args = pickler.loads(payload)
model = handler.load_model()
raw = handler.run_inference(examples, model, inference_args)
answer = pickler.dumps(read_predictions(raw, len(examples), source="run_inference()"))
"""


def check_runs_in_a_pipeline(subject: Subject) -> None:
    """On the embedded runner, each example gets the prediction that the handler makes of it."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from runinference.transform import RunInference

    loaded = subject.load()
    examples = subject.examples(loaded)
    expected = subject.predict(loaded, subject.examples(loaded))
    token = uuid.uuid4().hex
    found = _collected[token] = {}
    try:
        with subject.calling(
            "run_inference(), in a pipeline on FnApiRunner,", "it has to run as it does without"
        ):
            pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
            inference = RunInference(
                KeyedModelHandler(subject.handler), inference_args=subject.inputs.inference_args
            )
            _ = (
                pipeline
                | beam.Create(list(enumerate(examples)), reshuffle=False)
                | inference
                | beam.Map(_collect, token)
            )
            pipeline.run().wait_until_finish()
    finally:
        del _collected[token]
    for position, prediction in enumerate(expected):
        if position not in found:
            fail(f"{subject.name} in a pipeline: example {position} came out without a prediction")
        if apart := subject.difference(found[position], prediction):
            fail(
                f"{subject.name} predicts example {position} in a pipeline otherwise: {apart}. The "
                "pipeline has a pickled copy of the handler, and batches of other sizes"
            )


def check_runs_in_another_process(subject: Subject) -> None:
    """A process that has only the handler's pickle loads the model and predicts the same."""
    from apache_beam.internal import pickler

    loaded = subject.load()
    expected = subject.predict(loaded, subject.examples(loaded))
    args = subject.inputs.inference_args
    with subject.calling("__getstate__()", "create in load_model() what does not pickle"):
        payload = pickler.dumps((subject.handler, subject.examples(loaded), args))
    try:
        found = pickler.loads(run_child(_ASK, payload))
    except ChildError as error:
        fail(
            f"{subject.name} does not run in another process: {error}. Its class has to be in an "
            "installed module, and load_model() has to need nothing that this process set up"
        )
    if apart := subject.difference(found, expected):
        fail(
            f"{subject.name} predicts otherwise in another process: {apart}. load_model() has to "
            "need nothing that this process set up: global variables, random seeds, files opened"
        )


def _collect(element: Any, token: str) -> None:
    position, result = element
    _collected[token][position] = getattr(result, "inference", result)
