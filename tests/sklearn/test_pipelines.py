"""The handlers in pipelines on the embedded runner."""

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from runinference import (
    BatchConfig,
    KeyedModelHandler,
    PredictionResult,
    RunInference,
    RunTableInference,
)
from runinference_sklearn import SklearnModelHandlerNumpy, SklearnModelHandlerPandas


@pytest.mark.parametrize("kind", ["pickle", "joblib", "skops"])
def test_rows(run, kind, save, classifier, iris):
    inputs, _ = iris
    path = save(classifier, kind)
    results = run.one(RunInference("sklearn-numpy", model_uri=path), list(inputs))
    assert all(type(result) is PredictionResult for result in results)
    expected = dict(zip(map(bytes, inputs), classifier.predict(inputs), strict=True))
    assert {bytes(result.example): result.inference for result in results} == expected
    assert {result.model_id.split("@")[0] for result in results} == {path}
    assert run.counter("num_inferences") == len(inputs)
    assert run.distribution("inference_request_batch_byte_size")[0].sum == inputs.nbytes


def test_the_same_predictions_as_beams_run_inference(run, save, classifier, iris):
    from apache_beam.ml.inference.base import RunInference as TheirTransform
    from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy as Theirs

    class Closing(Theirs):  # leaves the file that it reads open: an error in these tests
        def load_model(self):
            return SklearnModelHandlerNumpy(self._model_uri).load_model()

    inputs, _ = iris
    path = save(classifier)
    found = {}
    for name, transform in (
        ("ours", RunInference(SklearnModelHandlerNumpy(path))),
        ("theirs", TheirTransform(Closing(path))),
    ):
        results = run.one(transform, list(inputs))
        found[name] = {bytes(result.example): result.inference for result in results}
    assert found["ours"] == found["theirs"]
    assert len(found["ours"]) == len({bytes(row) for row in inputs})


def test_keyed_texts(run, save):
    texts = ["good film", "bad film", "good", "bad"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    handler = KeyedModelHandler(SklearnModelHandlerNumpy(save(model), method="predict_proba"))
    results = run.one(RunInference(handler), list(enumerate(texts)))
    expected = model.predict_proba(texts)
    assert sorted(key for key, _ in results) == [0, 1, 2, 3]
    for key, result in results:
        assert result.example == texts[key]
        assert np.allclose(result.inference, expected[key])


def test_frames(run, save, frame, iris):
    model = LogisticRegression(max_iter=500).fit(frame[["a", "b"]], iris[1])
    frames = [frame[0:1], frame[1:4], frame[4:5], frame[5:7]]
    handler = SklearnModelHandlerPandas(save(model, "skops"))
    results = run.one(RunInference(handler, batching=BatchConfig(min_size=4, max_size=4)), frames)
    assert len(results) == 4
    for result in results:
        pd.testing.assert_frame_equal(result.example, frame.loc[result.example.index])
        expected = model.predict(result.example[["a", "b"]])
        assert np.array_equal(result.inference, expected[0] if len(expected) == 1 else expected)


@pytest.mark.parametrize("name", ["sklearn-numpy", "sklearn-pandas"])
def test_tables(run, name, save, frame, iris):
    numbers = frame[["a", "b", "c", "d"]]
    path = save(LogisticRegression(max_iter=500).fit(numbers, iris[1]))
    tables = [pa.table(frame[["d", "text", "c", "b", "a"]]).slice(0, 100)]
    options = {"model_uri": path, "method": "predict_proba", "batching": BatchConfig(max_size=30)}
    (scored,) = run.one(RunTableInference(name, keep=["text"], **options), tables)
    expected = LogisticRegression(max_iter=500).fit(numbers, iris[1]).predict_proba(numbers)
    assert scored.column_names == ["text", "prediction"]
    assert np.allclose(np.array(scored["prediction"].to_pylist()), expected[:100])
    assert run.distribution("inference_request_batch_size")[0].max == 30


def test_a_table_of_texts(run, save):
    texts = ["good film", "bad film", "good", "bad"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, list("pnpn"))
    transform = RunTableInference(
        SklearnModelHandlerNumpy(save(model)), features=["text"], output="mood"
    )
    (scored,) = run.one(transform, [pa.table({"id": range(4), "text": texts})])
    assert scored["mood"].to_pylist() == list("pnpn")


def test_examples_of_different_shapes_one_by_one(run, save, frame):
    def first(model, batch, inference_args):
        return batch[:, 0]

    rows = [np.array([1.0, 2.0]), np.array([3.0])]
    handler = SklearnModelHandlerNumpy(save({"any": "model"}), inference_fn=first)
    results = run.one(RunInference(handler, batching=BatchConfig(max_size=1)), rows)
    assert sorted(result.inference for result in results) == [1.0, 3.0]


def test_one_model_in_two_steps_is_loaded_once(run, save, classifier, iris, monkeypatch):
    path = save(classifier)
    with run.pipeline() as pipeline:
        rows = pipeline | beam.Create(list(iris[0][:10]))
        for label in ("first", "second"):
            handler = SklearnModelHandlerNumpy(path)
            run.keep(rows | label >> RunInference(handler), label)
    assert len(run.elements("first")) == len(run.elements("second")) == 10
    assert sum(found.count for found in run.distribution("load_model_latency_milli_secs")) == 1
