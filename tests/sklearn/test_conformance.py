"""Both handlers keep every rule of the contract, whatever their options."""

import numpy as np
import pyarrow as pa
import pytest
from asking import probabilities  # found through conftest
from conformance import outcomes
from scipy import sparse, special
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from runinference.files import read_model
from runinference_sklearn import SklearnModelHandlerNumpy, SklearnModelHandlerPandas

ROWS = 5
TEXTS = ["good and fast", "bad", "good", "slow and bad", "fast"]


NO_LENGTHS = {"check_lengths": "skipped"}


@pytest.fixture
def models(iris, save):
    """``models(kind)`` saves a model and another one of the same kind, and gives their paths."""

    def make(kind="pickle", make_model=lambda: LogisticRegression(max_iter=500)):
        inputs, labels = iris
        other = np.where(labels == 0, 2, labels - 1)
        one, two = make_model().fit(inputs, labels), make_model().fit(-inputs, other)
        return save(one, kind), save(two, kind)

    return make


@pytest.fixture
def rows(iris):
    return list(iris[0][:ROWS])


@pytest.fixture
def table(rows):
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate("abcd")})


NUMBERS = {
    "skops": ("skops", {}),
    "joblib": ("joblib", {}),
    "pickle, told": ("pickle", {"model_file_type": "pickle"}),
    "probabilities": ("pickle", {"method": "predict_proba"}),
    "decisions": ("pickle", {"method": "decision_function"}),
    "function": ("pickle", {"inference_fn": probabilities}),
}


@pytest.mark.parametrize(("kind", "options"), NUMBERS.values(), ids=NUMBERS)
def test_numpy(models, rows, table, kind, options):
    one, other = models(kind)
    args = {"scale": 2.0} if "inference_fn" in options else None
    given = {"examples": rows, "table": table, "other_model": other, "inference_args": args}
    assert outcomes(SklearnModelHandlerNumpy(one, **options), **given) == NO_LENGTHS


def test_numpy_that_transforms(models, rows, table):
    one, other = models(make_model=StandardScaler)
    handler = SklearnModelHandlerNumpy(one, method="transform")
    found = outcomes(handler, examples=rows, table=table, other_model=other)
    assert found == NO_LENGTHS


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("skops", {"trusted_types": ["scipy.special.expit"]}),
        ("pickle", {"allow_unsafe_pickle": True}),
    ],
)
def test_numpy_with_what_is_not_scikit_learns(models, rows, table, kind, options):
    squash = FunctionTransformer(special.expit)
    one, other = models(kind, lambda: make_pipeline(squash, LogisticRegression(max_iter=500)))
    handler = SklearnModelHandlerNumpy(one, **options)
    found = outcomes(handler, examples=rows, table=table, other_model=other)
    assert found == NO_LENGTHS


def test_numpy_of_one_file_alone(models, rows, table):
    one, _ = models()
    handler = SklearnModelHandlerNumpy(one, model_sha256=read_model(one).sha256)
    assert outcomes(handler, table=table) == NO_LENGTHS


def without_a_table(why):
    """What holds of examples that are no rows of a table."""
    expected = {"expected_failed_checks": {"check_tables_agree_with_examples": why}}
    return expected, {
        **NO_LENGTHS,
        "check_tables_agree_with_examples": "expected failure",
        "check_table_is_not_changed": "skipped",
    }


def test_numpy_of_sparse_rows(models, rows):
    one, other = models()
    examples = [sparse.csr_matrix(row) for row in rows]
    given, left = without_a_table("Arrow has no sparse columns")
    handler = SklearnModelHandlerNumpy(one)
    assert outcomes(handler, examples=examples, other_model=other, **given) == left


def test_numpy_of_texts(save):
    def model(labels):
        return save(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, labels))

    handler = SklearnModelHandlerNumpy(model([1, 0, 1, 0, 1]), method="predict_proba")
    given = {
        "examples": TEXTS,
        "table": pa.table({"text": TEXTS}),
        "features": ["text"],
        "other_model": model([0, 1, 0, 1, 1]),
    }
    assert outcomes(handler, **given) == NO_LENGTHS


@pytest.fixture
def named(frame, iris, save):
    """Models of a frame of numbers, texts and a categorical."""

    def model(labels):
        encode = make_column_transformer(
            (OneHotEncoder(), ["text", "kind"]), remainder="passthrough"
        )
        return save(make_pipeline(encode, LogisticRegression(max_iter=2000)).fit(frame, labels))

    labels = iris[1]
    return model(labels), model(np.where(labels == 0, 2, labels - 1))


@pytest.mark.parametrize(
    "options",
    [{}, {"method": "predict_proba"}, {"inference_fn": probabilities}],
    ids=["predict", "method", "function"],
)
def test_pandas(named, frame, options):
    one, other = named
    table = pa.Table.from_pandas(frame[:ROWS], preserve_index=False)
    handler = SklearnModelHandlerPandas(one, **options)
    given = {"table": table, "features": list(frame.columns), "other_model": other}
    assert outcomes(handler, **given) == NO_LENGTHS


def test_pandas_of_several_rows_each(named, frame):
    one, other = named
    frames = [frame[:1], frame[1:4], frame[4:6]]
    given, left = without_a_table("a table's row is one example")
    handler = SklearnModelHandlerPandas(one)
    assert outcomes(handler, examples=frames, other_model=other, **given) == left
