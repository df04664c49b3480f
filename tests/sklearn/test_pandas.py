"""The pandas handler: frames of one row or more, and tables."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from runinference.errors import ExampleError, FeatureError, PredictionCountError
from runinference_sklearn import SklearnModelHandlerPandas


@pytest.fixture(scope="module")
def model(frame, iris):
    """A pipeline on named columns of several types, which does not look at all of them."""
    columns = make_column_transformer(
        (StandardScaler(), ["a", "b"]),
        (OneHotEncoder(), ["text", "kind"]),
        ("drop", ["c"]),
        remainder="drop",
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame, iris[1])


def loaded(path, **options):
    handler = SklearnModelHandlerPandas(path, **options)
    return handler, handler.load_model()


def rows_of(frame):
    return [frame.iloc[row : row + 1] for row in range(len(frame))]


def cut(frame, lengths):
    ends = np.cumsum(lengths)
    return [frame.iloc[e - n : e] for e, n in zip(ends, lengths, strict=True)]


def test_frames_of_one_row(save, model, frame):
    handler, again = loaded(save(model))
    found = handler.run_inference(rows_of(frame), again)
    assert found == list(model.predict(frame))
    assert all(np.ndim(prediction) == 0 for prediction in found)


def test_equal_to_beams_own_handler(save, model, frame):
    from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerPandas as Theirs

    path = save(model)
    theirs = Theirs(path).run_inference(rows_of(frame), model)
    handler, again = loaded(path)
    found = handler.run_inference(rows_of(frame), again)
    assert found == [result.inference for result in theirs]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.sampled_from(["predict", "proba"]))
@settings(deadline=None)
def test_one_prediction_for_each_frame_of_any_length(classifier, iris, lengths, method):
    whole = pd.DataFrame(iris[0][: sum(lengths)])
    method = "predict_proba" if method == "proba" else method
    handler = SklearnModelHandlerPandas("model", method=method)
    found = handler.run_inference(cut(whole, lengths), classifier)
    assert len(found) == len(lengths)
    expected = getattr(classifier, method)(whole.to_numpy())
    for prediction, part in zip(found, np.split(expected, np.cumsum(lengths)[:-1]), strict=True):
        assert np.array_equal(prediction, part[0] if len(part) == 1 else part)
        assert getattr(prediction, "base", None) is None


def test_structures_and_sparse_outputs_of_longer_frames(frame, iris):
    numbers = frame[["a", "b"]]
    frames = cut(numbers, [2, 1, 3])
    process = GaussianProcessRegressor(alpha=0.1, optimizer=None).fit(numbers, iris[1])
    handler = SklearnModelHandlerPandas("model")
    mean, deviation = process.predict(numbers[:6], return_std=True)
    found = handler.run_inference(frames, process, {"return_std": True})
    assert [np.shape(part) for part, _ in found] == [(2,), (), (3,)]
    assert np.allclose(np.hstack([part for part, _ in found]), mean)
    assert np.allclose(np.hstack([part for _, part in found]), deviation)

    several = np.stack([iris[1] == 0, iris[1]], axis=1).astype(int)
    both = MultiOutputClassifier(LogisticRegression()).fit(numbers, several)
    probable = SklearnModelHandlerPandas("model", method="predict_proba")
    found = probable.run_inference(frames, both)
    assert [(a.shape, b.shape) for a, b in found] == [
        ((2, 2), (2, 3)),
        ((2,), (3,)),
        ((3, 2), (3, 3)),
    ]

    encoder = OneHotEncoder().fit(frame[["text"]])
    transform = SklearnModelHandlerPandas("model", method="transform")
    found = transform.run_inference(cut(frame[["text"]], [2, 1]), encoder)
    assert [part.toarray().tolist() for part in found] == [
        encoder.transform(frame[["text"]][:2]).toarray().tolist(),
        encoder.transform(frame[["text"]][2:3]).toarray().tolist(),
    ]

    named = StandardScaler().set_output(transform="pandas").fit(numbers)
    found = transform.run_inference(frames, named)
    assert [part.shape for part in found] == [(2, 2), (1, 2), (3, 2)]
    pd.testing.assert_frame_equal(pd.concat(found), named.transform(numbers[:6]))

    listed = SklearnModelHandlerPandas(
        "model", inference_fn=lambda model, batch, args: iter(batch["a"].tolist())
    )
    assert listed.run_inference(frames, None)[0] == numbers["a"][:2].tolist()


def test_an_answer_of_another_length_counts_rows(frame):
    handler = SklearnModelHandlerPandas("model", inference_fn=lambda model, batch, args: [1, 2, 3])
    with pytest.raises(PredictionCountError, match="3 predictions for 5 examples"):
        handler.run_inference(cut(frame, [2, 3]), None)


def test_frames_come_back_as_they_went_in(save, model, frame):
    handler, again = loaded(save(model))
    indexed = frame.set_index(pd.date_range("2020-01-01", periods=len(frame)))
    frames = cut(indexed[["text", "b", "kind", "a"]], [1, 2, 1])
    before = [part.copy() for part in frames]
    handler.run_inference(frames, again)
    for part, copied in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(part, copied)


def test_columns_in_any_order_and_columns_that_the_model_does_not_know(save, model, frame):
    handler, again = loaded(save(model))
    expected = list(model.predict(frame[:4]))
    assert handler.feature_names(again) == ["a", "b", "text", "kind"]
    mixed = [
        frame[0:1],
        frame[["kind", "text", "b", "a"]][1:2],  # without those that the pipeline drops
        frame.assign(extra=1)[2:3],
        frame[3:4].rename(columns={"d": "other"}),
    ]
    assert handler.run_inference(mixed, again) == expected
    with pytest.raises(FeatureError, match=r"example 1 lacks columns 'a', 'text', which the model"):
        handler.run_inference([frame[0:1], frame[["b", "kind"]][1:2]], again)


def test_frames_of_a_model_without_names(classifier, iris):
    handler = SklearnModelHandlerPandas("model")
    rows = pd.DataFrame(iris[0][:2])
    with pytest.raises(FeatureError, match=r"example 1 lacks column 3, which example 0 has"):
        handler.run_inference([rows[:1], rows[[0, 1, 2]][1:]], classifier)
    with pytest.raises(FeatureError, match=r"example 0 lacks column 4, which example 1 has"):
        handler.run_inference(
            [rows[:1], rows.assign(**{"4": 1}).set_axis(range(5), axis=1)], classifier
        )
    with pytest.raises(ExampleError, match="have 3 features, but LogisticRegression takes 4"):
        handler.run_inference([rows[[0, 1, 2]]], classifier)
    swapped = handler.run_inference([rows[:1], rows[[3, 2, 1, 0]][1:]], classifier)
    assert swapped == list(classifier.predict(iris[0][:2]))


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([np.zeros(4)], "example 0 is a ndarray: .*DataFrames, .*sklearn-numpy"),
        ([pd.DataFrame({"a": [1.0]}), pd.Series([1.0])], "example 1 is a Series"),
        (
            [pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": []})],
            "example 1 is a frame without rows",
        ),
    ],
)
def test_examples_that_are_no_frames(examples, message):
    with pytest.raises(ExampleError, match=message):
        SklearnModelHandlerPandas("model").collate(examples, LinearRegression())


def test_the_index_reaches_a_model_that_looks_at_it(frame):
    days = frame.set_index(pd.date_range("2020-01-01", periods=len(frame)))
    handler = SklearnModelHandlerPandas(
        "model", inference_fn=lambda model, batch, args: batch.index.day.to_numpy()
    )
    assert handler.run_inference(rows_of(days[:3]), None) == [1, 2, 3]


def test_categories_that_differ_from_frame_to_frame(frame, iris):
    columns = frame[["a", "kind"]]
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    model.fit(columns, iris[1])
    own = [row.assign(kind=pd.Categorical(row["kind"].astype(str))) for row in rows_of(columns)]
    found = SklearnModelHandlerPandas("model").run_inference(own, model)
    assert found == list(model.predict(columns))


def test_tables(save, model, frame):
    handler, again = loaded(save(model))
    table = pa.table(frame[["text", "kind", "d", "c", "b", "a"]])
    batch = handler.collate_table(table, again)
    assert list(batch.columns) == ["a", "b", "text", "kind"]
    assert isinstance(batch["kind"].dtype, pd.CategoricalDtype)
    assert batch["text"].dtype == frame["text"].dtype
    assert np.array_equal(handler.predict(batch, again, None), model.predict(frame))
    rows = handler.examples_from(table.slice(0, 3), again)
    assert handler.run_inference(rows, again) == list(model.predict(frame[:3]))
    with pytest.raises(FeatureError, match="model was trained on 'b', not among the features"):
        handler.collate_table(table.select(["a", "text", "kind"]), again)


def test_the_index_that_a_table_once_had_is_a_column_like_others():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    model = LinearRegression().fit(frame, [1.0, 2.0])
    table = pa.Table.from_pandas(frame.set_index("a"))
    handler = SklearnModelHandlerPandas("model")
    pd.testing.assert_frame_equal(handler.collate_table(table, model), frame)


def test_tables_of_a_model_without_names(classifier):
    handler = SklearnModelHandlerPandas("model")
    with pytest.raises(FeatureError, match="table has 1 feature, but LogisticRegression takes 4"):
        handler.collate_table(pa.table({"a": [1.0]}), classifier)


def test_names_that_no_column_transformer_narrows(frame, iris):
    handler = SklearnModelHandlerPandas("model")
    numbers = frame[["a", "b"]]
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, iris[1])
    assert handler.feature_names(plain) == ["a", "b"]
    through = make_pipeline(FunctionTransformer(), LogisticRegression()).fit(numbers, iris[1])
    assert handler.feature_names(through) == ["a", "b"]
    passing = make_column_transformer((StandardScaler(), ["b"]), remainder="passthrough")
    assert handler.feature_names(passing.fit(numbers)) == ["a", "b"]
    assert handler.feature_names(LinearRegression().fit(iris[0], iris[1])) is None


def test_bytes_of_frames(frame):
    assert (
        SklearnModelHandlerPandas("model").get_num_bytes(rows_of(frame[["a", "text"]])) == 16 * 150
    )
    frames = [pd.DataFrame({"a": np.zeros(n), "b": np.zeros(n, "f4")}) for n in (1, 3)]
    assert SklearnModelHandlerPandas("model").get_num_bytes(frames) == 4 * 12
    assert SklearnModelHandlerPandas("model").get_num_bytes([]) == 0
