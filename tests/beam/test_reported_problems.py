"""What users of Beam's RunInference have reported, or run into, does not happen here.

Each test runs a handler of Beam's, or one written for Beam, in this project's transform.
"""

import gc
import pickle
import weakref

import apache_beam as beam
import numpy as np
import pytest
import torch
from apache_beam.ml.inference import base
from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerTensor
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy
from apache_beam.transforms import window

from runinference import KeyedModelHandler, PredictionResult, RunInference

# Beam's handlers leave their files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
LINEAR = {"model_class": torch.nn.Linear, "model_params": {"in_features": 4, "out_features": 2}}


class Doubling(base.ModelHandler):
    """The smallest handler written for Beam."""

    def load_model(self):
        return lambda example: 2 * example

    def run_inference(self, batch, model, inference_args=None):
        return [base.PredictionResult(example, model(example)) for example in batch]


def test_one_bad_example_does_not_take_its_batch_along(run, models):
    rows = [*models.inputs[:9], np.zeros(3, np.float32)]
    handler = SklearnModelHandlerNumpy(models.pickle, min_batch_size=10)
    with run.pipeline() as pipeline:
        results, dead = (
            pipeline
            | beam.Create(rows, reshuffle=False)
            | RunInference(handler).with_exception_handling()
        )
        run.keep(results, "results")
        run.keep(dead.failed_inferences, "dead")
    assert len(run.elements("results")) == 9
    [failure] = run.elements("dead")
    assert failure.example.shape == (3,)


def test_results_keep_their_event_time(run):
    with run.pipeline() as pipeline:
        timed = (
            pipeline
            | beam.Create([1, 2, 13])
            | beam.Map(lambda number: window.TimestampedValue(number, number))
            | beam.WindowInto(window.FixedWindows(10))
            | RunInference(Doubling())
        )
        run.keep(timed)
    found = zip(run.elements(), run.timestamps(), run.windows(), strict=True)
    assert sorted((r.inference, time, float(w.start)) for r, time, w in found) == [
        (2, 1, 0),
        (4, 2, 0),
        (26, 13, 10),
    ]


def test_a_result_does_not_hold_its_batch(run, models):
    tensors = list(torch.zeros(2000, 4).unbind(0))
    handler = PytorchModelHandlerTensor(models.state, **LINEAR, min_batch_size=2000)
    results = run.one(RunInference(handler), [tensor.clone() for tensor in tensors])
    assert len(pickle.dumps(results[0].inference)) < 1000


def test_every_call_gets_the_same_inference_args(run):
    class Taking(Doubling):
        def run_inference(self, batch, model, inference_args=None):
            return [inference_args.pop("limit", "default")] * len(batch)

    handler = Taking(max_batch_size=1)
    results = run.one(RunInference(handler, inference_args={"limit": 7}), [1, 2, 3])
    assert [result.inference for result in results] == [7, 7, 7]


def test_weights_bound_a_batch(run):
    handler = Doubling(min_batch_size=10, max_batch_weight=3, element_size_fn=lambda number: 1)
    run.one(RunInference(handler), list(range(10)))
    assert run.distribution("inference_request_batch_size")[0].max == 3


def test_the_metrics_tell_the_bytes_of_the_data(run, models):
    class Summing(Doubling):
        def run_inference(self, batch, model, inference_args=None):
            return [float(example.sum()) for example in batch]

    run.one(RunInference(Summing(min_batch_size=50)), list(models.inputs))
    [found] = run.distribution("inference_request_batch_byte_size")
    assert found.sum == models.inputs.nbytes


def test_the_metrics_fail_no_batch(run, models):
    # Beam's own count iterates over each tensor, and a number has nothing to iterate over
    handler = PytorchModelHandlerTensor(
        models.state, **LINEAR, inference_fn=lambda batch, *_: [float(x) * 2 for x in batch]
    )
    results = run.one(RunInference(handler), [torch.tensor(1.0), torch.tensor(2.0)])
    assert sorted(result.inference for result in results) == [2.0, 4.0]


@pytest.mark.parametrize("kind", [dict, tuple, list])
def test_a_model_may_be_of_any_type(run, kind):
    class Plain(Doubling):
        def load_model(self):
            return kind([("factor", 3)])

        def run_inference(self, batch, model, inference_args=None):
            factor = dict(model)["factor"]
            return [factor * example for example in batch]

    assert [result.inference for result in run.one(RunInference(Plain()), [1])] == [3]


alive = []


class Model:
    def __call__(self, example):
        return example


class Holding(Doubling):
    def load_model(self):
        model = Model()
        alive.append(weakref.ref(model))
        return model


def test_a_model_is_let_go_at_the_end(run):
    alive.clear()
    run.one(RunInference(Holding()), [1, 2])
    gc.collect()
    assert [reference() for reference in alive] == [None]


def test_functions_may_be_told_to_the_handler_within_a_keyed_one(run):
    handler = Doubling().with_preprocess_fn(int).with_postprocess_fn(lambda r: r.inference)
    with pytest.raises(Exception, match="pre or postprocessing functions"):
        base.KeyedModelHandler(handler)
    assert run.one(RunInference(KeyedModelHandler(handler)), [("a", "1"), ("b", "2")]) == [
        ("a", 2),
        ("b", 4),
    ]


def test_a_handler_that_forgets_its_super_class_runs(run):
    class Forgetful(base.ModelHandler):
        def __init__(self, factor):
            self.factor = factor

        def load_model(self):
            return self.factor

        def run_inference(self, batch, model, inference_args=None):
            return (model * example for example in batch)

    results = run.one(RunInference(Forgetful(5)), [1, 2])
    assert [result.inference for result in results] == [5, 10]
    assert all(type(result) is PredictionResult for result in results)


def test_a_structure_that_is_no_dict_is_split_by_example(run):
    class Pairs(Doubling):
        def run_inference(self, batch, model, inference_args=None):
            numbers = np.array(batch)
            return numbers + 1, numbers - 1

    results = run.one(RunInference(Pairs()), [1, 2, 3])
    assert sorted(tuple(map(int, result.inference)) for result in results) == [
        (2, 0),
        (3, 1),
        (4, 2),
    ]
