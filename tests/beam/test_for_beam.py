"""Handlers of this project's run in Beam's own RunInference, and answer the same."""

import numpy as np
import pytest
import torch
from apache_beam.ml.inference import base

from runinference import (
    BatchConfig,
    Execution,
    KeyedModelHandler,
    MaybeKeyedModelHandler,
    ModelHandler,
    RunInference,
    VectorModelHandler,
)
from runinference.errors import ConfigurationError, ExampleFailedError
from runinference.keyed import KeyModelMapping
from runinference.results import ExampleFailed
from runinference_beam import for_beam
from runinference_onnx import OnnxModelHandlerNumpy
from runinference_pytorch import PytorchModelHandlerTensor
from runinference_sklearn import SklearnModelHandlerNumpy

CASES = {
    "sklearn": (lambda m: SklearnModelHandlerNumpy(m.skops), list),
    "pytorch": (
        lambda m: PytorchModelHandlerTensor(
            m.safetensors, torch.nn.Linear, {"in_features": 4, "out_features": 2}
        ),
        lambda inputs: list(torch.tensor(inputs).unbind(0)),
    ),
    "onnx": (lambda m: OnnxModelHandlerNumpy(m.onnx), list),
}
each_handler = pytest.mark.parametrize(("make", "examples_of"), CASES.values(), ids=CASES)


def plain(results):
    return sorted(
        (np.asarray(r.example).tolist(), np.asarray(r.inference).tolist(), r.model_id)
        for r in results
    )


@each_handler
def test_the_results_are_the_same(run, models, make, examples_of):
    examples = examples_of(models.inputs)
    theirs = run.one(base.RunInference(for_beam(make(models))), examples)
    assert len(theirs) == 50
    assert all(type(result) is base.PredictionResult for result in theirs)
    assert plain(theirs) == plain(run.one(RunInference(make(models)), examples))


@each_handler
def test_keys_functions_and_batching_are_the_same(run, models, make, examples_of):
    inner = (
        make(models)
        .with_preprocess_fn(lambda example: example * 2)
        .with_preprocess_fn(lambda example: example + 1)
        .with_postprocess_fn(lambda result: np.asarray(result.inference).tolist())
    )
    handler = (
        KeyedModelHandler(inner)
        .with_preprocess_fn(lambda pair: (pair[0] + 1, pair[1]))
        .with_preprocess_fn(lambda pair: (pair[0] * 2, pair[1]))
        .with_postprocess_fn(lambda pair: (-pair[0], pair[1]))
    )
    batching = BatchConfig(min_size=7, max_size=7)
    pairs = list(enumerate(examples_of(models.inputs)))
    theirs = run.one(base.RunInference(for_beam(handler, batching=batching)), pairs)
    assert run.distribution("inference_request_batch_size")[0].max == 7
    ours = run.one(RunInference(handler, batching=batching), pairs)
    assert dict(theirs) == dict(ours)
    assert sorted(dict(theirs)) == sorted(-(2 * number + 1) for number in range(50))


@pytest.mark.parametrize("keyed", [False, True])
def test_elements_may_be_batches(run, models, keyed):
    handler = SklearnModelHandlerNumpy(models.skops).with_no_batching()
    handler = handler.with_preprocess_fn(lambda batch: [batch[0]] * len(batch))
    rows = list(enumerate(models.inputs)) if keyed else list(models.inputs)
    if keyed:
        handler = KeyedModelHandler(handler)
    batches = [rows[:20], rows[20:]]
    theirs = run.one(base.RunInference(for_beam(handler)), batches)
    assert run.distribution("inference_request_batch_size")[0].count == 2
    ours = run.one(RunInference(handler), batches)
    if keyed:
        theirs, ours = ([value for _, value in pairs] for pairs in (theirs, ours))
    assert plain(theirs) == plain(ours)
    assert len(theirs) == 50


@pytest.mark.parametrize("keyed", [False, True])
def test_keys_may_be_absent(run, models, keyed):
    handler = SklearnModelHandlerNumpy(models.skops).with_postprocess_fn(lambda r: r.inference)
    handler = for_beam(MaybeKeyedModelHandler(handler))
    rows = [(str(row), row) if keyed else row for row in models.inputs]
    theirs = run.one(base.RunInference(handler), rows)
    assert all(isinstance(result, tuple) == keyed for result in theirs)
    assert len(theirs) == 50


def test_workers_share_copies_of_the_model(run, models):
    handler = SklearnModelHandlerNumpy(models.skops)
    shared = for_beam(handler, execution=Execution(copies=2))
    theirs = run.one(base.RunInference(shared), list(models.inputs))
    assert plain(theirs) == plain(run.one(RunInference(handler), list(models.inputs)))


class Words(VectorModelHandler):
    """Counts the words of a batch; notes how many examples came at a time."""

    def load_model(self):
        return []

    def length(self, prepared):
        return len(prepared)

    def prepare(self, examples, model):
        return [text.split() for text in examples]

    def collate(self, examples, model):
        return examples

    def predict(self, batch, model, inference_args):
        return [(len(words), len(batch)) for words in batch]

    def validate_inference_args(self, inference_args):
        if inference_args:
            raise ValueError("no arguments, please")

    def get_metrics_namespace(self):
        return "Words"


def test_calls_are_cut_as_ours_are(run):
    texts = ["a b c d"] * 6 + ["a"] * 6
    batching = BatchConfig(min_size=12, max_tokens=8)
    handler = for_beam(Words(), batching=batching)
    theirs = run.one(base.RunInference(handler), texts)
    assert sorted({result.inference for result in theirs}) == [(1, 6), (4, 2)]
    [metric] = run.result.metrics().query()["counters"][:1]
    assert metric.key.metric.namespace == "Words"


def test_what_a_handler_refuses_is_refused():
    with pytest.raises(ValueError, match="no arguments"):
        for_beam(Words()).validate_inference_args({"top": 1})
    with pytest.raises(ConfigurationError, match="no length"):
        for_beam(ModelsLess(), batching=BatchConfig(max_tokens=8))
    with pytest.raises(ConfigurationError, match="for_beam was given the class Words"):
        for_beam(Words)
    with pytest.raises(ConfigurationError, match="in_flight=4"):
        for_beam(Words(), execution=Execution(in_flight=4))
    by_key = [KeyModelMapping(["key"], Words())]
    with pytest.raises(ConfigurationError, match="neither models_for nor default"):
        for_beam(KeyedModelHandler(by_key, default=Words()))
    with pytest.raises(ConfigurationError, match="map before and after it"):
        for_beam(KeyedModelHandler(by_key).with_postprocess_fn(str))


def test_a_model_per_key_predicts_its_keys(run, models):
    other = SklearnModelHandlerNumpy(models.skops)
    mappings = [KeyModelMapping(["a", "b"], Words()), KeyModelMapping(["c"], other)]
    handler = for_beam(KeyedModelHandler(mappings, max_models_per_worker_hint=1))
    pairs = [("a", "one two"), ("c", models.inputs[0]), ("b", "one")]
    found = dict(run.one(base.RunInference(handler), pairs))
    assert [found["a"].inference[0], found["b"].inference[0]] == [2, 1]
    assert found["c"].model_id.startswith(f"{models.skops}@")


class ModelsLess(ModelHandler):
    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        return [ExampleFailed(ValueError("odd")) if example % 2 else example for example in batch]


def test_a_marked_example_fails_its_batch_which_beam_puts_aside(run):
    handler = for_beam(ModelsLess(), batching=BatchConfig(max_size=1))
    import apache_beam as beam

    with run.pipeline() as pipeline:
        good, dead = (
            pipeline
            | beam.Create([0, 1, 2, 3])
            | base.RunInference(handler).with_exception_handling()
        )
        run.keep(good, "good")
        run.keep(dead.failed_inferences, "dead")
    assert sorted(result.inference for result in run.elements("good")) == [0, 2]
    failed = run.elements("dead")
    assert sorted(batch for batch, _ in failed) == [[1], [3]]
    assert {kind for _, (kind, *_) in failed} <= {ExampleFailedError, ValueError}


def test_another_model_comes_by_its_path(models):
    handler = for_beam(SklearnModelHandlerNumpy("nowhere.skops"))
    handler.update_model_path(models.skops)
    model = handler.load_model()
    [result] = handler.run_inference([models.inputs[0]], model)
    assert result.model_id.startswith(f"{models.skops}@")


def test_the_model_is_closed_once_beam_lets_go_of_it():
    closed = []

    class Closing(ModelsLess):
        def close_model(self, model):
            closed.append(model)

    model = for_beam(Closing()).load_model()
    assert closed == []
    del model
    assert closed == [None]


def test_a_model_may_run_in_a_process_of_its_own(models):
    handler = for_beam(SklearnModelHandlerNumpy(models.skops), execution=Execution(process=True))
    model = handler.load_model()
    [result] = handler.run_inference([models.inputs[0]], model)
    local = for_beam(SklearnModelHandlerNumpy(models.skops))
    assert plain([result]) == plain(local.run_inference([models.inputs[0]], local.load_model()))


def test_execution_warms_the_model_up(models):
    seen = []
    execution = Execution(warmup_examples=[models.inputs[0]], validate_fn=seen.append)
    for_beam(SklearnModelHandlerNumpy(models.skops), execution=execution).load_model()
    assert [type(model).__name__ for model in seen] == ["LogisticRegression"]
