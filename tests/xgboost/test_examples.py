"""Rows, frames and tables; absent values, categories and names."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost

from runinference import Execution, RunInference, RunTableInference
from runinference.errors import ExampleError, FeatureError
from runinference_xgboost import XgboostModelHandlerNumpy, XgboostModelHandlerPandas


def loaded(kind, path, **options):
    handler = kind(path, **options)
    model = handler.load_model()
    handler.set_threads(model, 1)  # threads that wait for each other make small calls slow
    return handler, model


def rows_of(frame):
    return [frame.iloc[row : row + 1] for row in range(len(frame))]


# Rows of numbers


def test_rows_in_a_pipeline(run, save, binary, inputs):
    path = save(binary)
    transform = RunInference(
        "xgboost-numpy", model_uri=path, predict_type="label", execution=Execution(threads=1)
    )
    results = run.one(transform, list(inputs))
    expected = {row.tobytes(): label for row, label in zip(inputs, binary.predict(inputs))}
    for result in results:
        assert result.inference == expected[result.example.tobytes()]
        assert result.model_id.startswith(f"{path}@")


def test_absent_values(save, binary, inputs):
    path = save(binary)
    rows = inputs[:10].astype(float)
    rows[:, 1] = np.nan
    expected = binary.predict_proba(rows)[:, 1]
    handler, model = loaded(XgboostModelHandlerNumpy, path)
    assert handler.run_inference(list(rows), model) == list(expected)
    with_none = [[a, None, c, d] for a, _, c, d in rows.tolist()]
    assert handler.run_inference(with_none, model) == list(expected)
    handler, model = loaded(XgboostModelHandlerNumpy, path, missing=-999.0)
    rows[:, 1] = -999
    assert handler.run_inference(list(rows), model) == list(expected)
    handler, model = loaded(XgboostModelHandlerNumpy, path, missing=-999.0, predict_type="leaf")
    nans = np.where(rows == -999, np.nan, rows)
    np.testing.assert_array_equal(handler.run_inference(list(rows), model), binary.apply(nans))


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ([np.ones(3)], r"of shape \(3,\), but the model takes rows of 4 features"),
        ([1.0], r"of shape \(\), but the model takes rows of 4 features"),
        ([np.ones(4), np.ones(3)], r"example 1 has shape \(3,\)"),
        ([[1, "Rome", 2, 3]], "hold what is no number: .*Rome"),
        ([{"a": 1}], "example 0 is a dict"),
        ([pd.DataFrame({"a": [1]})], "example 0 is a DataFrame"),
        ([None], "example 0 is None"),
    ],
)
def test_examples_that_are_no_rows(save, binary, examples, said):
    handler, model = loaded(XgboostModelHandlerNumpy, save(binary))
    with pytest.raises(ExampleError, match=said):
        handler.run_inference(examples, model)


# Frames


def test_frames_in_a_pipeline(run, save, regressor, frame):
    transform = RunInference(
        "xgboost-pandas", model_uri=save(regressor), execution=Execution(threads=1)
    )
    results = run.one(transform, rows_of(frame))
    found = {result.example.index[0]: result.inference for result in results}
    np.testing.assert_array_equal([found[i] for i in range(len(frame))], regressor.predict(frame))


def test_frames_of_several_rows_and_columns_in_any_order(save, regressor, frame):
    handler, model = loaded(XgboostModelHandlerPandas, save(regressor))
    expected = regressor.predict(frame)
    mixed = frame[["is_new", "city", "rooms", "age"]].assign(other="x")
    found = handler.run_inference([mixed[:3], frame[3:4], mixed[4:6]], model)
    np.testing.assert_array_equal(found[0], expected[:3])
    assert found[1] == expected[3]
    np.testing.assert_array_equal(found[2], expected[4:6])


@pytest.mark.parametrize(
    "change",
    [
        lambda column: column.cat.reorder_categories(["Rome", "Oslo", "Bern"]),
        lambda column: column.cat.add_categories(["Paris"]),
        lambda column: column.astype(str),
        lambda column: column.astype(object),
    ],
)
@pytest.mark.parametrize("output", ["value", "leaf", "contributions"])
def test_categories_are_looked_up_by_name(save, regressor, frame, change, output):
    handler, model = loaded(XgboostModelHandlerPandas, save(regressor), predict_type=output)
    expected = handler.run_inference(rows_of(frame[:20]), model)
    changed = frame[:20].assign(city=change(frame["city"])[:20])
    before = changed.copy()
    # by one row at a time, so that each has another set of categories
    for row, value in zip(rows_of(changed), expected, strict=True):
        np.testing.assert_array_equal(handler.run_inference([row], model)[0], value)
    pd.testing.assert_frame_equal(changed, before)


def test_categories_by_number(save, regressor, frame):
    handler, model = loaded(XgboostModelHandlerNumpy, save(regressor))
    rows = frame.assign(city=frame["city"].cat.codes).to_numpy(dtype=float)
    np.testing.assert_array_equal(
        handler.run_inference(list(rows), model), regressor.predict(frame)
    )


def test_categories_that_the_file_does_not_tell(save, regressor, frame):
    content = json.loads(regressor.get_booster().save_raw("json"))
    del content["learner"]["gradient_booster"]["model"]["cats"]
    handler, model = loaded(XgboostModelHandlerPandas, save(json.dumps(content).encode(), "json"))
    with pytest.raises(FeatureError, match="column 'city' holds categories, and the model file"):
        handler.run_inference([frame[:1]], model)
    numbers = frame.assign(city=frame["city"].cat.codes)
    found = handler.run_inference(rows_of(numbers[:5]), model)
    np.testing.assert_array_equal(found, regressor.predict(frame[:5]))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: [f.drop(columns="age")], FeatureError, "example 0 lacks column 'age', which"),
        (lambda f: [f.assign(age="old")], ExampleError, "age"),
        (lambda f: [f.to_numpy()], ExampleError, "DataFrames, .*xgboost-numpy"),
        (lambda f: [f[:0]], ExampleError, "example 0 is a frame without rows"),
    ],
)
def test_frames_that_do_not_fit(save, regressor, frame, change, error, said):
    handler, model = loaded(XgboostModelHandlerPandas, save(regressor))
    with pytest.raises(error, match=said):
        handler.run_inference(change(frame[:1]), model)


def test_frames_of_a_model_without_names(save, binary, inputs):
    handler, model = loaded(XgboostModelHandlerPandas, save(binary))
    whole = pd.DataFrame(inputs)
    found = handler.run_inference(rows_of(whole), model)
    np.testing.assert_array_equal(found, binary.predict_proba(inputs)[:, 1])
    with pytest.raises(FeatureError, match="features were given: 3; the model takes 4"):
        handler.run_inference([whole[[0, 1, 2]]], model)


# Tables


@pytest.mark.parametrize("encode", [False, True])
def test_a_table_with_categories_and_nulls(run, save, regressor, frame, encode):
    cities = pa.array(frame["city"].astype(str))
    columns = {
        "rooms": frame["rooms"],
        "id": range(len(frame)),
        "city": cities.dictionary_encode() if encode else cities,
        "age": pa.array([None if np.isnan(age) else age for age in frame["age"]]),
        "is_new": frame["is_new"],
    }
    transform = RunTableInference("xgboost-pandas", model_uri=save(regressor))
    [scored] = run.one(transform, [pa.table(columns)])
    np.testing.assert_array_equal(scored.column("prediction"), regressor.predict(frame))
    assert scored.schema.field("prediction").type == pa.float32()


def test_a_table_of_numbers(run, save, inputs):
    names = list("abcd")
    whole = pd.DataFrame(inputs, columns=names)
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(whole, inputs.sum(axis=1) > 0)
    columns = {name: pa.array(whole[name]) for name in ("d", "b", "c", "a")}
    columns["b"] = pa.array([None, *whole["b"][1:]])
    transform = RunTableInference(
        "xgboost-numpy", model_uri=save(model), predict_type="probability"
    )
    [scored] = run.one(transform, [pa.table(columns | {"id": range(len(whole))})])
    whole.loc[0, "b"] = np.nan
    found = np.stack(scored.column("prediction").to_numpy())
    np.testing.assert_array_equal(found, model.predict_proba(whole))


def test_columns_that_do_not_fit(save, binary, regressor):
    handler, model = loaded(XgboostModelHandlerNumpy, save(binary))
    with pytest.raises(FeatureError, match=r"'a' is of type string, not numeric.*xgboost-pandas"):
        handler.collate_table(pa.table({"a": ["x"], "b": [1]}), model)
    with pytest.raises(FeatureError, match="features were given: 1; the model takes 4"):
        handler.collate_table(pa.table({"a": [1.0]}), model)
    handler, model = loaded(XgboostModelHandlerPandas, save(regressor))
    with pytest.raises(FeatureError, match="trained on 'city', 'rooms', 'is_new', not among"):
        handler.collate_table(pa.table({"age": [1.0]}), model)


def test_a_linear_model_takes_no_nulls(run, save, inputs):
    model = xgboost.train(
        {"booster": "gblinear", "nthread": 1}, xgboost.DMatrix(inputs, inputs.sum(axis=1)), 5
    )
    transform = RunTableInference("xgboost-numpy", model_uri=save(model))
    table = pa.table({name: [1.0, None] for name in "abcd"})
    with pytest.raises(Exception, match="column 'a' has 1 nulls"):
        run.one(transform, [table])
