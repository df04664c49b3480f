"""What the handlers' constructors take and refuse, and what becomes of it."""

import inspect
import pickle
import typing

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.preprocessing import StandardScaler

from runinference.errors import ConfigurationError, ModelLoadError, PredictionCountError
from runinference_sklearn import (
    ModelFileType,
    SklearnModelHandlerNumpy,
    SklearnModelHandlerPandas,
)

HANDLERS = [SklearnModelHandlerNumpy, SklearnModelHandlerPandas]


def ask(handler, rows, inference_args=None):
    return handler.run_inference(list(rows), handler.load_model(), inference_args)


@pytest.mark.parametrize("handler", HANDLERS)
def test_the_order_of_positional_arguments_is_beams(handler):
    from apache_beam.ml.inference import sklearn_inference

    theirs = getattr(sklearn_inference, handler.__name__)
    names = list(inspect.signature(handler).parameters)
    assert names[:2] == list(inspect.signature(theirs).parameters)[:2]


@pytest.mark.parametrize("handler", HANDLERS)
def test_every_option_has_a_type_and_a_description(handler):
    parameters = set(inspect.signature(handler).parameters)
    assert set(typing.get_type_hints(handler.__init__)) - {"return"} == parameters
    for name in parameters:
        assert f"\n    {name}: " in inspect.cleandoc(handler.__init__.__doc__)
    kinds = {parameter.kind for parameter in inspect.signature(handler).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds


@pytest.mark.parametrize("handler", HANDLERS)
def test_options_that_there_are_not(handler):
    with pytest.raises(TypeError, match="model_urii"):
        handler(model_urii="model.skops")
    with pytest.raises(TypeError, match=r"BatchConfig\(max_size=\.\.\.\)"):
        handler("model.skops", max_batch_size=3)


@pytest.mark.parametrize("handler", HANDLERS)
def test_options_out_of_range(handler):
    with pytest.raises(ConfigurationError, match=r"method='predicct': known are 'predict', "):
        handler("model.skops", method="predicct")
    with pytest.raises(ConfigurationError, match="exclude each other"):
        handler("model.skops", method="transform", inference_fn=lambda model, batch, args: batch)
    with pytest.raises(ConfigurationError, match=r"write \['a\.B'\]"):
        handler("model.skops", trusted_types="a.B")


@pytest.mark.parametrize("handler", HANDLERS)
def test_handlers_pickle_and_follow_another_path(handler, save, classifier):
    first, second = save(classifier), save(LinearRegression().fit([[1.0]], [1.0]))
    made = handler(first, "pickle")
    copied = pickle.loads(pickle.dumps(made))
    assert copied.model_path == first
    copied.update_model_path(second)
    copied.update_model_path(None)
    assert (copied.model_path, made.model_path) == (second, first)
    assert type(copied.load_model()) is LinearRegression
    assert copied.model_id.startswith(f"{second}@")
    assert made.model_id is None
    assert made.get_metrics_namespace() == "BeamML_Sklearn"


def test_a_model_without_the_method(save):
    path = save(LinearRegression().fit([[1.0]], [1.0]))
    with pytest.raises(
        ModelLoadError, match=r"with predict_proba\(\), found a LinearRegression\. It has pr"
    ):
        SklearnModelHandlerNumpy(path, method="predict_proba").load_model()
    with pytest.raises(
        ModelLoadError, match=r"a StandardScaler\. It has transform: say method='tra"
    ):
        SklearnModelHandlerNumpy(save(StandardScaler().fit([[1.0]]))).load_model()
    with pytest.raises(ModelLoadError, match=r"with predict\(\), found a dict\. Is it a model\?"):
        SklearnModelHandlerNumpy(save({"model": 1})).load_model()


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_methods(method, save, classifier, iris):
    inputs, _ = iris
    found = ask(SklearnModelHandlerNumpy(save(classifier), method=method), inputs)
    assert np.array_equal(np.array(found), getattr(classifier, method)(inputs))


def test_transform_and_its_rows_own_their_memory(save, iris):
    inputs, _ = iris
    clusters = KMeans(3, n_init=1, random_state=0).fit(inputs)
    found = ask(SklearnModelHandlerNumpy(save(clusters), method="transform"), inputs)
    assert np.allclose(np.array(found), clusters.transform(inputs))
    assert all(row.base is None for row in found)


def test_inference_args_reach_the_method(save):
    inputs = np.linspace(0.0, 9.0, 10).reshape(-1, 1)
    model = GaussianProcessRegressor().fit(inputs, np.sin(inputs[:, 0]))
    handler = SklearnModelHandlerNumpy(save(model))
    mean, deviation = model.predict(inputs, return_std=True)
    assert ask(handler, inputs, {"return_std": True}) == list(zip(mean, deviation, strict=True))
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        ask(handler, inputs, {"nonsense": 1})


def test_an_inference_function_gets_the_whole_batch(save, classifier, iris):
    inputs, _ = iris
    seen = []

    def best(model, batch, inference_args):
        seen.append((batch.shape, inference_args))
        return model.predict_proba(batch).max(axis=1)

    handler = SklearnModelHandlerNumpy(save(classifier), inference_fn=best)
    found = ask(handler, inputs, {"extra": 1})
    assert found == list(classifier.predict_proba(inputs).max(axis=1))
    assert seen == [((150, 4), {"extra": 1})]


def test_an_inference_function_may_ask_for_what_the_model_has_not(save, iris):
    inputs, _ = iris
    scaler = StandardScaler().fit(inputs[:, :2])
    handler = SklearnModelHandlerNumpy(
        save(scaler), inference_fn=lambda model, batch, args: model.transform(batch[:, :2]).sum(1)
    )
    assert ask(handler, inputs) == list(scaler.transform(inputs[:, :2]).sum(1))


def test_an_inference_function_that_loses_predictions(save, classifier, iris):
    handler = SklearnModelHandlerNumpy(
        save(classifier), inference_fn=lambda model, batch, args: model.predict(batch)[1:]
    )
    with pytest.raises(PredictionCountError, match="149 predictions for 150"):
        ask(handler, iris[0])


def test_a_classifier_of_several_outputs(save, iris):
    # Its predict_proba answers with one array for each output: two, and not one for each example.
    inputs, labels = iris
    several = np.stack([labels == 0, labels], axis=1).astype(int)
    model = MultiOutputClassifier(LogisticRegression(max_iter=500)).fit(inputs, several)
    handler = SklearnModelHandlerNumpy(save(model), method="predict_proba")
    for count in (1, 2, 150):
        first, second = model.predict_proba(inputs[:count])
        found = ask(handler, inputs[:count])
        assert len(found) == count
        for position, (one, other) in enumerate(found):
            assert np.array_equal(one, first[position])
            assert np.array_equal(other, second[position])


def test_the_type_of_a_file_is_a_string():
    assert ModelFileType.SKOPS == "skops"
