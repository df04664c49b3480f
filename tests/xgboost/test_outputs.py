"""What a model can be asked, as XGBoost's own classes answer it."""

import numpy as np
import pytest
import xgboost

from runinference import RunInference
from runinference.errors import ConfigurationError
from runinference_xgboost import XgboostModelHandlerNumpy


def predict(path, examples, inference_args=None, **options):
    handler = XgboostModelHandlerNumpy(path, **options)
    model = handler.load_model()
    handler.set_threads(model, 1)
    return np.stack(handler.run_inference(list(examples), model, inference_args))


@pytest.mark.parametrize("model", ["binary", "classifier"])
def test_equal_to_xgboost(request, save, inputs, model):
    model = request.getfixturevalue(model)
    path, data = save(model), xgboost.DMatrix(inputs)
    booster = model.get_booster()
    expected = {
        "value": booster.predict(data),
        "label": model.predict(inputs),
        "probability": model.predict_proba(inputs),
        "margin": booster.predict(data, output_margin=True),
        "leaf": booster.predict(data, pred_leaf=True),
        "contributions": booster.predict(data, pred_contribs=True),
    }
    for output, values in expected.items():
        found = predict(path, inputs, predict_type=output)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values, err_msg=output)


@pytest.mark.parametrize("objective", ["multi:softmax", "binary:hinge", "binary:logistic"])
def test_labels_of_other_objectives(save, inputs, objective):
    labels = (inputs.sum(axis=1) > 0).astype(int)
    options = {"num_class": 2} if objective.startswith("multi") else {}
    booster = xgboost.train(
        {"objective": objective, "nthread": 1, **options}, xgboost.DMatrix(inputs, labels), 5
    )
    expected = booster.predict(xgboost.DMatrix(inputs)).round()
    np.testing.assert_array_equal(predict(save(booster), inputs, predict_type="label"), expected)


def test_several_labels_for_each_row(save, inputs):
    several = np.stack([inputs[:, 0] > 0, inputs[:, 1] > 0, inputs[:, 2] > 1], axis=1).astype(int)
    model = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(inputs, several)
    for output, expected in (
        ("label", model.predict(inputs)),
        ("probability", model.predict_proba(inputs)),
    ):
        np.testing.assert_array_equal(predict(save(model), inputs, predict_type=output), expected)


@pytest.mark.parametrize("booster", ["gblinear", "dart"])
@pytest.mark.parametrize("output", ["value", "margin"])
def test_other_boosters(save, inputs, booster, output):
    model = xgboost.train(
        {"booster": booster, "nthread": 1}, xgboost.DMatrix(inputs, inputs.sum(axis=1)), 5
    )
    expected = model.predict(xgboost.DMatrix(inputs), output_margin=output == "margin")
    np.testing.assert_allclose(
        predict(save(model), inputs, predict_type=output), expected, rtol=1e-5
    )


def test_a_model_that_was_stopped_early_predicts_with_its_best_rounds(save, inputs):
    target = inputs.sum(axis=1)
    model = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=2, n_jobs=1)
    model.fit(inputs[:100], target[:100], eval_set=[(inputs[100:], target[100:])], verbose=False)
    path = save(model)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    np.testing.assert_array_equal(predict(path, inputs), model.predict(inputs))
    found = predict(path, inputs, {"iteration_range": (0, 1)})
    np.testing.assert_array_equal(found, model.predict(inputs, iteration_range=(0, 1)))


def test_arguments_are_looked_at_when_the_pipeline_is_built(run, save, classifier, inputs):
    path = save(classifier)
    args = {"iteration_range": (0, 2)}
    results = run.one(
        RunInference("xgboost-numpy", model_uri=path, inference_args=args), list(inputs[:5])
    )
    expected = classifier.predict_proba(inputs[:5], iteration_range=(0, 2))
    np.testing.assert_array_equal([result.inference for result in results], expected)
    with pytest.raises(ConfigurationError, match="'ntree_limit'; known are 'iteration_range'"):
        run.one(
            RunInference("xgboost-numpy", model_uri=path, inference_args={"ntree_limit": 2}),
            list(inputs[:5]),
        )
