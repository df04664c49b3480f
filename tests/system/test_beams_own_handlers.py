"""Handlers written for Beam's own RunInference run in ours, as they are."""

import pickle

import numpy as np
import pytest
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy
from sklearn.linear_model import LogisticRegression

from runinference import PredictionResult, RunInference


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(100, 4))
    fitted = LogisticRegression().fit(inputs, inputs.sum(axis=1) > 0)
    path = tmp_path_factory.mktemp("model") / "model.pkl"
    path.write_bytes(pickle.dumps(fitted))
    return str(path), inputs, fitted.predict(inputs)


# Beam's handler does not close the file that it loads.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_beams_handler_in_our_transform(run, model):
    path, inputs, expected = model
    handler = SklearnModelHandlerNumpy(
        path, min_batch_size=10, max_batch_size=10, env_vars={"RUNINFERENCE_TEST_BEAM": "1"}
    ).with_preprocess_fn(np.asarray)
    results = run.one(RunInference(handler), list(inputs))
    assert all(type(result) is PredictionResult for result in results)
    assert {result.model_id for result in results} == {path}
    found = {result.example.tobytes(): result.inference for result in results}
    assert [found[row.tobytes()] for row in inputs] == list(expected)
    assert run.distribution("inference_request_batch_size")[0].max == 10
