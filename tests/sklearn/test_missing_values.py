"""Values that are missing in tables: which models are given them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from runinference import RunTableInference


@pytest.mark.parametrize("name", ["sklearn-numpy", "sklearn-pandas"])
def test_missing_values_go_to_models_that_take_them(run, save, name):
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0] * 10, "b": [0, 1, 2, 3] * 10})
    labels = frame["b"] > 1
    takes = HistGradientBoostingClassifier(max_iter=5).fit(frame, labels)
    table = pa.table({"a": pa.array([1.0, None, 3.0]), "b": pa.array([0, 3, None])})
    [scored] = run.one(RunTableInference(name, model_uri=save(takes)), [table])
    expected = takes.predict(pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [0, 3, np.nan]}))
    assert scored.column("prediction").to_pylist() == list(expected)
    refuses = LogisticRegression().fit(frame[["b"]], labels)
    with pytest.raises(Exception, match="column 'b' has 1 nulls in 3 rows"):
        run.one(RunTableInference(name, model_uri=save(refuses)), [table])


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        (make_pipeline(SimpleImputer(), LogisticRegression()), True),
        (make_pipeline(StandardScaler(), SimpleImputer(), LogisticRegression()), True),
        (make_pipeline(StandardScaler(), LogisticRegression()), False),
        (make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2)), True),
        (make_pipeline("passthrough", SimpleImputer(), LogisticRegression()), True),
        (
            make_pipeline(make_union(SimpleImputer(), MissingIndicator()), LogisticRegression()),
            True,
        ),
        (
            make_pipeline(
                make_column_transformer((SimpleImputer(), ["a"]), remainder="passthrough"),
                LogisticRegression(),
            ),
            False,
        ),
        (
            make_pipeline(
                make_column_transformer((SimpleImputer(), ["a", "b"]), remainder="drop"),
                LogisticRegression(),
            ),
            True,
        ),
        (
            GridSearchCV(
                make_pipeline(SimpleImputer(), LogisticRegression()),
                {"logisticregression__C": [1.0]},
                cv=2,
            ),
            True,
        ),
    ],
)
def test_a_pipeline_takes_missing_values_up_to_the_step_that_fills_them_in(run, save, model, takes):
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0] * 10, "b": [0.0, 1.0, 2.0, np.nan] * 10})
    full = frame if takes else frame.fillna(0.0)
    model.fit(full, [0, 0, 1, 1] * 10)
    table = pa.table({"a": pa.array([1.0, None, 3.0]), "b": pa.array([0.0, 3.0, None])})
    transform = RunTableInference("sklearn-pandas", model_uri=save(model))
    if not takes:
        with pytest.raises(Exception, match="column 'a' has 1 nulls"):
            run.one(transform, [table])
        return
    [scored] = run.one(transform, [table])
    assert scored.column("prediction").to_pylist() == list(model.predict(table.to_pandas()))


def test_missing_texts_are_a_category_of_an_encoder(run, save):
    columns = make_column_transformer((SimpleImputer(), ["a"]), (OneHotEncoder(), ["c"]))
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0] * 4, "c": ["x", None, "y"] * 4})
    model = make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1, 0] * 4)
    table = pa.table({"a": pa.array([None, 2.0, 3.0]), "c": pa.array(["x", None, "y"])})
    [scored] = run.one(RunTableInference("sklearn-pandas", model_uri=save(model)), [table])
    assert scored.column("prediction").to_pylist() == list(model.predict(table.to_pandas()))
