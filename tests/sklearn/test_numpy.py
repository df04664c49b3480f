"""The numpy handler: rows of any kind, alone and in tables."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, OrdinalEncoder, StandardScaler

from runinference.errors import ExampleError, FeatureError
from runinference_sklearn import SklearnModelHandlerNumpy

TEXTS = ["good film", "bad film", "good", "bad", "a good story", "a bad story"]
MOODS = np.array([1, 0, 1, 0, 1, 0])


@pytest.fixture(scope="module")
def mood():
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, MOODS)


def loaded(path, **options):
    handler = SklearnModelHandlerNumpy(path, **options)
    return handler, handler.load_model()


def predicted(path, examples, **options):
    handler, model = loaded(path, **options)
    return handler.run_inference(examples, model)


def collated(examples, model=None):
    return SklearnModelHandlerNumpy("model").collate(examples, model)


def test_arrays_and_sequences(save, classifier, iris):
    inputs, _ = iris
    expected = list(classifier.predict(inputs))
    path = save(classifier)
    assert predicted(path, list(inputs)) == expected
    assert predicted(path, inputs.tolist()) == expected
    assert predicted(path, [tuple(row) for row in inputs]) == expected
    assert predicted(path, [inputs[0]]) == expected[:1]


def test_equal_to_beams_own_handler(save, classifier, iris):
    from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy as Theirs

    path = save(classifier)
    theirs = Theirs(path)
    rows = list(iris[0])
    expected = [result.inference for result in theirs.run_inference(rows, classifier)]
    assert predicted(path, rows) == expected
    assert theirs.get_metrics_namespace() == loaded(path)[0].get_metrics_namespace()


@given(
    npst.arrays(
        st.sampled_from(["f4", "f8", "i8", "u1", "?"]),
        npst.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
@settings(deadline=None)
def test_rows_come_together_as_the_matrix_that_they_were(matrix):
    found = collated(list(matrix))
    assert found.dtype == matrix.dtype
    assert np.array_equal(found, matrix, equal_nan=matrix.dtype.kind == "f")
    compressed = sparse.csr_matrix(matrix)
    again = collated([compressed[i] for i in range(len(matrix))])
    assert again.format == "csr"
    assert again.dtype == matrix.dtype
    assert np.array_equal(again.toarray(), matrix, equal_nan=matrix.dtype.kind == "f")


def test_texts(save, mood):
    assert predicted(save(mood), TEXTS) == list(MOODS)
    assert predicted(save(mood), [np.str_(text) for text in TEXTS]) == list(MOODS)


def test_texts_as_the_one_feature_of_a_model(save):
    encoder = OneHotEncoder(sparse_output=False).fit([["red"], ["green"]])
    found = predicted(save(encoder), ["green", "red"], method="transform")
    assert np.array_equal(found, [[1, 0], [0, 1]])


def test_scalars(save):
    line = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    assert predicted(save(line), [2.0, 3, np.float32(4)]) == pytest.approx([5, 7, 9])
    assert predicted(save(line), [np.array(2.0)]) == pytest.approx([5])
    curve = IsotonicRegression().fit([0.0, 1.0], [1.0, 3.0])
    assert predicted(save(curve), [0.0, 0.5]) == pytest.approx([1, 2])
    codes = LabelEncoder().fit([3, 7, 9])
    assert predicted(save(codes), [9, 3], method="transform") == [2, 0]
    names = LabelEncoder().fit(["x", "y"])
    assert predicted(save(names), ["y", "x"], method="transform") == [1, 0]


def test_sparse_rows_stay_sparse(save, mood, monkeypatch):
    vectorizer, model = mood[0], mood[1]
    rows = vectorizer.transform(TEXTS)
    for kind in (sparse.csr_matrix, sparse.csr_array):
        for method in ("toarray", "todense"):
            monkeypatch.setattr(kind, method, lambda *_: pytest.fail("made dense"))
        converted = kind(rows)
        examples = [converted[[i]] for i in range(len(TEXTS))]
        assert predicted(save(model), examples) == list(model.predict(rows))
    found = predicted(save(vectorizer), TEXTS, method="transform")
    assert [row.shape for row in found] == [(1, rows.shape[1])] * len(TEXTS)
    assert (sparse.vstack(found) != rows).nnz == 0


def test_sparse_rows_in_other_forms():
    dense = np.array([0.0, 2.0, 0.0])
    for row in (sparse.csc_matrix([dense]), sparse.coo_array([dense]), sparse.coo_array(dense)):
        assert collated([row, row]).toarray().tolist() == [dense.tolist()] * 2


def test_a_row_of_numbers_and_texts_keeps_both(save):
    rows = [[1.5, "red"], [2.5, "green"]]
    assert collated(rows).tolist() == rows
    assert collated([np.array(row, dtype=object) for row in rows]).tolist() == rows
    assert collated([["a", "b"], ["c", "d"]]).tolist() == [["a", "b"], ["c", "d"]]
    columns = make_column_transformer((StandardScaler(), [0]), (OrdinalEncoder(), [1]))
    columns.fit(np.array(rows, dtype=object))
    found = predicted(save(columns), rows, method="transform")
    assert np.array_equal(found, [[-1, 1], [1, 0]])


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (
            [np.zeros(4), np.zeros(4), np.zeros(3)],
            r"example 2 has shape \(3,\), while example 0 has shape \(4,\).*max_size=1",
        ),
        ([[1.0, 2.0], [1.0]], r"example 1 has shape \(1,\), while example 0 has shape \(2,\)"),
        ([np.zeros(4), "text"], r"example 1 has shape \(\), while example 0 has shape \(4,\)"),
        ([[1.0, [2.0]], [1.0, 2.0]], "example 0 is not one row: its values differ in length"),
        (["a", "b", 3.0], "example 2 is a float, while example 0 is a str"),
        ([1.0, None], "example 1 is None, while example 0 is a float"),
        ([None], "example 0 is None: give its values"),
        ([{"a": 1.0}], "example 0 is a dict: give its values.*sklearn-pandas"),
        ([pd.DataFrame({"a": [1.0]})], "example 0 is a DataFrame: .*sklearn-pandas"),
        (
            [sparse.csr_matrix((1, 3)), sparse.csr_matrix((1, 4))],
            r"example 1 has shape \(1, 4\), while example 0 has shape \(1, 3\)",
        ),
        ([sparse.csr_matrix((2, 3))], "example 0 is a sparse matrix of 2 rows"),
        (
            [sparse.csr_matrix((1, 3)), np.zeros(3)],
            "example 1 is a ndarray, while example 0 is a csr_matrix",
        ),
    ],
)
def test_examples_that_make_no_batch(examples, message):
    with pytest.raises(ExampleError, match=message):
        collated(examples)


def test_another_number_of_features(save, classifier):
    handler, model = loaded(save(classifier))
    with pytest.raises(ExampleError, match="have 3 features, but LogisticRegression takes 4"):
        handler.run_inference([np.zeros(3)], model)
    with pytest.raises(ExampleError, match=r"shape \(1, 4\), but .* takes rows of shape \(4,\)"):
        handler.run_inference([np.zeros((1, 4))], model)
    with pytest.raises(ExampleError, match="have 3 features, but LogisticRegression takes 4"):
        handler.run_inference([sparse.csr_matrix((1, 3))], model)
    for example in (1.0, "text"):
        with pytest.raises(ExampleError, match="have 1 feature, but LogisticRegression takes 4"):
            handler.run_inference([example], model)
    with pytest.raises(FeatureError, match="table has 1 feature, but LogisticRegression takes 4"):
        handler.collate_table(pa.table({"a": ["text"]}), model)
    with pytest.raises(FeatureError, match="table has 1 feature, but LogisticRegression takes 4"):
        handler.collate_table(pa.table({"a": [1.0]}), model)


def test_the_batch_is_not_changed(save, classifier, iris):
    rows = list(iris[0])
    before = [row.copy() for row in rows]
    predicted(save(classifier), rows)
    assert all(map(np.array_equal, rows, before))


def table_of(matrix):
    return pa.table({f"c{i}": column for i, column in enumerate(matrix.T)})


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?"])
def test_a_table_becomes_the_matrix_that_rows_would(save, dtype):
    matrix = np.arange(12).reshape(6, 2).astype(dtype)
    model = LinearRegression().fit(matrix.astype(float), np.arange(6))
    handler = SklearnModelHandlerNumpy("model")
    found = handler.collate_table(table_of(matrix), model)
    by_rows = handler.collate(list(matrix), model)
    assert found.dtype == by_rows.dtype == np.dtype(dtype)
    assert np.array_equal(found, by_rows)
    assert np.array_equal(handler.examples_from(table_of(matrix), model), matrix)


def test_a_table_of_one_column_of_lists(save, classifier, iris):
    inputs, _ = iris
    rows = pa.FixedSizeListArray.from_arrays(pa.array(inputs.reshape(-1)), 4)
    handler, model = loaded(save(classifier))
    batch = handler.collate_table(pa.table({"features": rows}), model)
    assert np.array_equal(handler.predict(batch, model, None), classifier.predict(inputs))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:2], TEXTS[2:]]),
    ],
    ids=["string", "large", "dictionary", "chunks"],
)
def test_a_column_of_texts(column, save, mood):
    handler, model = loaded(save(mood))
    table = pa.table({"review": column})
    batch = handler.collate_table(table, model)
    assert batch == TEXTS
    assert handler.examples_from(table, model) == TEXTS
    assert list(handler.predict(batch, model, None)) == list(MOODS)
    encoder = OneHotEncoder().fit([[text] for text in TEXTS])
    assert handler.collate_table(table, encoder).tolist() == [[text] for text in TEXTS]
    assert type(CountVectorizer().fit(batch)) is CountVectorizer


def test_a_column_that_is_not_numeric(save, classifier):
    handler, model = loaded(save(classifier))
    table = pa.table({"a": [1.0], "b": [2.0], "c": [3.0], "d": ["x"]})
    with pytest.raises(FeatureError, match=r"'d' is of type string, not numeric.+ sklearn-pandas"):
        handler.collate_table(table, model)


def test_a_model_of_named_columns_gets_them_by_name(save, frame, iris):
    numbers = frame[["a", "b", "c", "d"]]
    model = LogisticRegression(max_iter=500).fit(numbers, iris[1])
    path = save(model)
    handler, loaded_model = loaded(path)
    assert handler.feature_names(loaded_model) == ["a", "b", "c", "d"]
    shuffled = pa.table(numbers[["d", "a", "c", "b"]])
    # any warning of scikit-learn about names is an error here
    found = handler.predict(handler.collate_table(shuffled, model), model, None)
    assert np.array_equal(found, model.predict(numbers))
    other = pa.table(numbers).rename_columns(["e", "f", "g", "h"])
    assert np.array_equal(handler.collate_table(other, model), numbers.to_numpy())
    function = SklearnModelHandlerNumpy(path, inference_fn=lambda model, batch, args: batch)
    assert type(function.collate_table(shuffled, model)) is np.ndarray


def test_names_through_a_pipeline_and_a_search(frame, iris):
    from sklearn.model_selection import GridSearchCV

    numbers = frame[["a", "b", "c", "d"]]
    handler = SklearnModelHandlerNumpy("model")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, iris[1])
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}).fit(numbers, iris[1])
    assert handler.feature_names(pipeline) == handler.feature_names(search) == list("abcd")
    assert handler.feature_names(LogisticRegression()) is None
    assert handler.feature_names(make_pipeline(TfidfVectorizer()).fit(TEXTS)) is None


def test_bytes_of_a_batch():
    handler = SklearnModelHandlerNumpy("model")
    assert handler.get_num_bytes([np.zeros(4), np.zeros(4)]) == 64
