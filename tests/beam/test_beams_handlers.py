"""Handlers written for Beam's own RunInference run in ours as they are, and answer the same."""

import collections
import functools
import os

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xgboost
from apache_beam.ml.inference import base
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy
from apache_beam.ml.inference.pytorch_inference import (
    PytorchModelHandlerKeyedTensor,
    PytorchModelHandlerTensor,
    make_tensor_model_fn,
)
from apache_beam.ml.inference.sklearn_inference import (
    SklearnModelHandlerNumpy,
    SklearnModelHandlerPandas,
)
from beam_nets import Named

from runinference import BatchConfig, PredictionResult, RunInference
from runinference.errors import PredictionCountError

# Beam's handlers leave their files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
CPU = ["CPUExecutionProvider"]
LINEAR = {"model_class": torch.nn.Linear, "model_params": {"in_features": 4, "out_features": 2}}


def rows_of(inputs):
    return list(inputs)


def frames_of(inputs):
    frame = pd.DataFrame(inputs, columns=["a", "b", "c", "d"])
    return [frame.iloc[i : i + 1] for i in range(len(frame))]


def tensors_of(inputs):
    return list(torch.tensor(inputs).unbind(0))


def named_of(inputs):
    return [{"left": row, "right": row * 2} for row in tensors_of(inputs)]


def matrices_of(inputs):
    return [row[np.newaxis] for row in inputs]


def sparse_of(inputs):
    return [scipy.sparse.csr_matrix(row) for row in inputs]


CASES = {
    "sklearn-numpy": (lambda m, **o: SklearnModelHandlerNumpy(m.pickle, **o), rows_of),
    "sklearn-pandas": (lambda m, **o: SklearnModelHandlerPandas(m.frames_pickle, **o), frames_of),
    "onnx-numpy": (lambda m, **o: OnnxModelHandlerNumpy(m.onnx, providers=CPU, **o), rows_of),
    "pytorch-tensor": (
        lambda m, **o: PytorchModelHandlerTensor(m.state, **LINEAR, **o),
        tensors_of,
    ),
    "pytorch-method": (
        lambda m, **o: PytorchModelHandlerTensor(
            m.state, **LINEAR, inference_fn=make_tensor_model_fn("forward"), **o
        ),
        tensors_of,
    ),
    "pytorch-keyed-tensor": (
        lambda m, **o: PytorchModelHandlerKeyedTensor(m.named_state, Named, **o),
        named_of,
    ),
    "xgboost-numpy": (lambda m, **o: of_xgboost("Numpy", m, **o), matrices_of),
    "xgboost-pandas": (lambda m, **o: of_xgboost("Pandas", m, **o), frames_of),
    "xgboost-scipy": (lambda m, **o: of_xgboost("SciPy", m, **o), sparse_of),
}
each_handler = pytest.mark.parametrize(("make", "examples_of"), CASES.values(), ids=CASES)


def of_xgboost(kind, models, **options):
    pytest.importorskip("datatable", reason="Beam's module imports it, up to Python 3.12")
    from apache_beam.ml.inference import xgboost_inference

    handler = getattr(xgboost_inference, f"XGBoostModelHandler{kind}")
    # one thread: several spin while they wait, and each example is a call
    model = functools.partial(xgboost.XGBClassifier, n_jobs=1)
    return handler(model, models.xgboost, **options)


def plain(value):
    """A value that can be compared, of whatever framework."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, pd.DataFrame):
        return value.to_numpy().tolist()
    if scipy.sparse.issparse(value):
        return value.toarray().tolist()
    return np.asarray(value).tolist()


def plain_results(results):
    return sorted(
        (str(plain(r.example)), str(plain(r.inference)), str(r.model_id)) for r in results
    )


@each_handler
def test_a_handler_of_beams_answers_as_in_beams_own_transform(run, models, make, examples_of):
    examples = examples_of(models.inputs)
    ours = run.one(RunInference(make(models)), examples)
    theirs = run.one(base.RunInference(make(models)), examples)
    assert len(ours) == 50
    assert all(type(result) is PredictionResult for result in ours)
    assert plain_results(ours) == plain_results(theirs)


@each_handler
def test_its_batching_functions_and_keys_hold(run, models, make, examples_of):
    def handler():
        keyed = base.KeyedModelHandler(make(models, min_batch_size=7, max_batch_size=7))
        keyed = keyed.with_preprocess_fn(lambda pair: (pair[0] * 2, pair[1]))
        keyed = keyed.with_preprocess_fn(lambda pair: (pair[0] + 1, pair[1]))
        keyed = keyed.with_postprocess_fn(lambda pair: (pair[0], plain(pair[1].inference)))
        return keyed.with_postprocess_fn(lambda pair: (-pair[0], pair[1]))

    elements = list(enumerate(examples_of(models.inputs)))
    ours = run.one(RunInference(handler()), elements)
    assert run.distribution("inference_request_batch_size")[0].max == 7
    theirs = run.one(base.RunInference(handler()), elements)
    assert dict(ours) == dict(theirs)
    assert sorted(dict(ours)) == sorted(-2 * (number + 1) for number in range(50))


def test_functions_of_a_handler_without_keys_run_in_beams_order(run, models):
    handler = (
        SklearnModelHandlerNumpy(models.pickle)
        .with_preprocess_fn(lambda values: np.asarray(values, dtype=np.float32))
        .with_preprocess_fn(lambda text: [float(number) for number in text.split()])
        .with_postprocess_fn(lambda result: bool(result.inference))
        .with_postprocess_fn(str)
    )
    texts = [" ".join(map(str, row)) for row in models.inputs]
    ours, theirs = (run.one(t, texts) for t in (RunInference(handler), base.RunInference(handler)))
    assert ours == theirs
    assert set(ours) == {"True", "False"}


def test_pairs_and_single_examples_mix(run, models):
    handler = base.MaybeKeyedModelHandler(SklearnModelHandlerNumpy(models.pickle))
    rows = list(models.inputs[:4])
    found = run.one(RunInference(handler), [("key", rows[0]), rows[1], rows[2], ("other", rows[3])])
    assert [type(element) for element in found] == [
        tuple,
        PredictionResult,
        PredictionResult,
        tuple,
    ]
    assert found[3][0] == "other"
    assert np.array_equal(found[3][1].example, rows[3])


@pytest.mark.parametrize("keyed", [False, True])
def test_elements_may_be_batches(run, models, keyed):
    handler = SklearnModelHandlerNumpy(models.pickle)
    rows = list(enumerate(models.inputs)) if keyed else list(models.inputs)
    if keyed:
        handler = base.KeyedModelHandler(handler)
    handler = handler.with_no_batching()
    batches = [rows[:20], rows[20:]]
    ours = run.one(RunInference(handler), batches)
    assert run.distribution("inference_request_batch_size")[0].count == 2
    theirs = run.one(base.RunInference(handler), batches)
    if keyed:
        ours, theirs = (
            [result for _, result in sorted(r, key=lambda p: p[0])] for r in (ours, theirs)
        )
    assert plain_results(ours) == plain_results(theirs)


Loads = collections.Counter()


class Counting(base.ModelHandler):
    def load_model(self):
        Loads["counting"] += 1
        return sum

    def run_inference(self, batch, model, inference_args=None):
        return [model(example) for example in batch]


def test_steps_share_one_load_whatever_functions_stand_around_the_handler(run):
    Loads.clear()
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create([(1, 2), (3, 4)])
        run.keep(examples | "Plain" >> RunInference(Counting()), "plain")
        handler = Counting().with_postprocess_fn(lambda result: -result.inference)
        run.keep(examples | "Negated" >> RunInference(handler), "negated")
    assert sorted(result.inference for result in run.elements("plain")) == [3, 7]
    assert sorted(run.elements("negated")) == [-7, -3]
    assert Loads["counting"] == 1


def test_the_label_names_the_inner_handler(models):
    handler = base.KeyedModelHandler(SklearnModelHandlerNumpy(models.pickle))
    assert "(SklearnModelHandlerNumpy" in RunInference(handler.with_postprocess_fn(str)).label


def test_a_config_goes_over_what_the_handler_says(run, models):
    handler = SklearnModelHandlerNumpy(models.pickle, min_batch_size=7, max_batch_size=7)
    run.one(RunInference(handler, batching=BatchConfig(max_size=9)), list(models.inputs))
    assert run.distribution("inference_request_batch_size")[0].max == 9


def test_environment_variables_are_set_before_the_load(run, models, monkeypatch):
    monkeypatch.delenv("RUNINFERENCE_TEST_BEAM", raising=False)

    class Reading(base.ModelHandler):
        def load_model(self):
            return os.environ["RUNINFERENCE_TEST_BEAM"]

        def run_inference(self, batch, model, inference_args=None):
            return [model] * len(batch)

    handler = Reading(env_vars={"RUNINFERENCE_TEST_BEAM": "told"}).with_preprocess_fn(str)
    assert [r.inference for r in run.one(RunInference(handler), [1, 2])] == ["told", "told"]


def test_inference_args_are_checked_by_the_handler():
    class Picky(Counting):
        def validate_inference_args(self, inference_args):
            raise ValueError("no arguments, please")

    with pytest.raises(ValueError, match="no arguments"):
        RunInference(Picky().with_postprocess_fn(str), inference_args={"top": 1})


def test_too_few_answers_are_an_error_not_silence(run):
    class Short(Counting):
        def run_inference(self, batch, model, inference_args=None):
            return [base.PredictionResult(batch[0], 0)]

    handler = Short(min_batch_size=3)
    assert len(run.one(base.RunInference(handler), [(1,), (2,), (3,)])) < 3
    with pytest.raises(PredictionCountError, match="1 predictions for 3 examples"):
        run.one(RunInference(handler), [(1,), (2,), (3,)])
