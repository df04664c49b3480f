"""Columns of tables become the inputs of a model, and its outputs columns."""

import graphs
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from runinference import RunTableInference
from runinference.errors import FeatureError
from runinference_onnx import OnnxModelHandlerNumpy


def collated(path, table, **options):
    handler = OnnxModelHandlerNumpy(path, **options)
    return handler.collate_table(table, handler.load_model())


def test_the_columns_are_the_rows_of_the_only_input(run, save, classifier):
    exported, fitted, inputs = classifier
    table = pa.table({f"f{i}": inputs[:, i].astype(np.float64) for i in range(4)})
    [scored] = run.one(RunTableInference("onnx-numpy", model_uri=save(exported)), [table])
    assert scored.column("prediction_label").to_pylist() == list(fitted.predict(inputs))
    probabilities = np.stack(scored.column("prediction_probabilities").to_numpy())
    np.testing.assert_allclose(probabilities, fitted.predict_proba(inputs), atol=1e-5)


def test_the_only_output_is_the_prediction(run, linear):
    table = pa.table({"v": pa.array([[1, 2, 3, 4]] * 3, pa.list_(pa.float32(), 4))})
    transform = RunTableInference("onnx-numpy", model_uri=linear, features=["v"])
    [scored] = run.one(transform, [table])
    expected = (np.array([1, 2, 3, 4], np.float32) @ graphs.WEIGHTS).tolist()
    assert scored.column("prediction").to_pylist() == [pytest.approx(expected)] * 3


def test_an_input_for_each_column(run, save):
    """As scikit-learn's converter makes them of a frame: texts and numbers, ``[rows, 1]`` each."""
    from skl2onnx import to_onnx

    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 80, 100),
            "city": random.choice(["Rome", "Oslo"], 100),
            "income": random.normal(size=100).astype(np.float32),
        }
    )
    steps = make_column_transformer(
        (StandardScaler(), ["age", "income"]), (OneHotEncoder(sparse_output=False), ["city"])
    )
    fitted = make_pipeline(steps, LogisticRegression()).fit(
        frame, (frame["age"] > 50) ^ (frame["city"] == "Oslo")
    )
    exported = to_onnx(fitted, frame[:1], options={"zipmap": False}, target_opset=17)
    transform = RunTableInference("onnx-numpy", model_uri=save(exported))
    table = pa.table({"id": range(100)} | {name: frame[name] for name in ("income", "city", "age")})
    table = table.set_column(2, "city", table.column("city").dictionary_encode())
    [scored] = run.one(transform, [table])
    assert scored.column("prediction_label").to_pylist() == fitted.predict(frame).tolist()


@pytest.mark.parametrize("texts", [["a", "b"], pa.array(["a", "b"]).dictionary_encode()])
def test_one_column_of_texts(save, texts):
    path = save(graphs.identity(TensorProto.STRING))
    assert collated(path, pa.table({"text": texts}))["x"].tolist() == ["a", "b"]


def test_tables_and_their_rows_are_the_same_batch(linear, save):
    handler = OnnxModelHandlerNumpy(linear)
    model = handler.load_model()
    table = pa.table({name: np.arange(3) for name in "abcd"})
    rows = handler.examples_from(table, model)
    np.testing.assert_array_equal(
        handler.collate(rows, model)["x"], handler.collate_table(table, model)["x"]
    )
    handler = OnnxModelHandlerNumpy(save(graphs.two_inputs()))
    model = handler.load_model()
    table = pa.table({"a": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)), "b": [5, 6]})
    collated = handler.collate_table(table, model)
    again = handler.collate(handler.examples_from(table, model), model)
    assert {name: array.tolist() for name, array in collated.items()} == {
        name: array.tolist() for name, array in again.items()
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1.0], "b": [2.0]}, r"the columns are of shape \[2\] each, but .* 4\]"),
        ({"a": [1.0], "b": ["x"]}, "'b' is of type string, not numeric"),
    ],
)
def test_columns_that_are_not_the_models(linear, columns, said):
    with pytest.raises(FeatureError, match=said):
        collated(linear, pa.table(columns))


def test_columns_of_no_input(save):
    with pytest.raises(FeatureError, match="no input 'z'; it has 'a'"):
        collated(save(graphs.two_inputs()), pa.table({"z": [1]}))
    with pytest.raises(FeatureError, match=r"column 'b' is of float64, but .*'b' \(int64"):
        collated(save(graphs.two_inputs()), pa.table({"b": [0.5]}))
    with pytest.raises(FeatureError, match="column 'x' is of type int64, not of texts"):
        collated(save(graphs.identity(TensorProto.STRING)), pa.table({"x": [1]}))
