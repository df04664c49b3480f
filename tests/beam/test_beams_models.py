"""What handlers of Beam's declare of their models holds here: by key, shared, changed meanwhile."""

import os

import apache_beam as beam
import pytest
from apache_beam.ml.inference import base

from runinference import RunInference


class Times(base.ModelHandler):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def load_model(self):
        return self.factor

    def run_inference(self, batch, model, inference_args=None):
        return [base.PredictionResult(example, model * example) for example in batch]


@pytest.mark.parametrize("bound", [None, 1])
def test_a_model_per_key_predicts_its_keys(run, bound):
    mappings = [
        base.KeyModelMapping(["ten", "also ten"], Times(10)),
        base.KeyModelMapping(["hundred"], Times(100)),
    ]
    handler = base.KeyedModelHandler(mappings, max_models_per_worker_hint=bound)
    # Beam's own transform fails at a function around a model per key
    handler = handler.with_postprocess_fn(lambda pair: (pair[0], pair[1].inference))
    pairs = [("ten", 1), ("hundred", 2), ("also ten", 3), ("ten", 4)]
    found = run.one(RunInference(handler), pairs)
    assert found == [("ten", 10), ("hundred", 200), ("also ten", 30), ("ten", 40)]


class Where(base.ModelHandler):
    """Tells in which process it predicts, and with which model."""

    def __init__(self, path="old", **kwargs):
        super().__init__(**kwargs)
        self.path = path

    def update_model_path(self, model_path=None):
        self.path = model_path or self.path

    def load_model(self):
        return self.path

    def run_inference(self, batch, model, inference_args=None):
        return [(model, os.getpid())] * len(batch)


@pytest.mark.parametrize("options", [{"large_model": True}, {"model_copies": 2}])
def test_a_large_model_is_shared_by_the_workers_of_a_machine(run, options):
    [result] = run.one(RunInference(Where(**options).with_preprocess_fn(int)), [1])
    assert result.inference[1] != os.getpid()
    [result] = run.one(RunInference(Where()), [1])
    assert result.inference[1] == os.getpid()


def test_a_side_input_tells_of_another_model(run):
    with run.pipeline() as pipeline:
        told = pipeline | "Models" >> beam.Create([base.ModelMetadata("new", "the new one")])
        run.keep(pipeline | beam.Create([1]) | RunInference(Where(), model_metadata_pcoll=told))
    [result] = run.elements()
    assert result.inference[0] == "new"
