"""Which files are loaded, and what is said of the others."""

import hashlib
import io
import json
import pickle

import joblib
import numpy as np
import pytest
import xgboost

from runinference import Execution, RunInference, create_handler
from runinference.errors import ConfigurationError, ModelLoadError
from runinference_xgboost import XgboostModelHandlerNumpy, XgboostModelHandlerPandas


def load(path, **options):
    return XgboostModelHandlerNumpy(path, **options).load_model()


@pytest.mark.parametrize("kind", ["ubj", "json"])
def test_both_formats(save, classifier, inputs, kind):
    path = save(classifier, kind)
    handler = XgboostModelHandlerNumpy(path)
    found = handler.run_inference(list(inputs), handler.load_model())
    np.testing.assert_array_equal(found, classifier.predict_proba(inputs))
    with open(path, "rb") as file:
        assert handler.model_id == f"{path}@{hashlib.sha256(file.read()).hexdigest()[:12]}"


def test_a_digest_that_is_pinned(save, classifier):
    path = save(classifier)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    handler = XgboostModelHandlerPandas(path, model_sha256=digest)
    handler.load_model()
    assert handler.sha256 == digest
    with pytest.raises(ModelLoadError, match=f"expected the content with sha256 {'0' * 64}"):
        load(path, model_sha256="0" * 64)


def test_it_pickles_after_a_load(save, classifier):
    for name in ("xgboost-numpy", "xgboost-pandas"):
        handler = create_handler(name, model_uri=save(classifier))
        handler.load_model()
        assert type(pickle.loads(pickle.dumps(handler))) is type(handler)


def joblib_of(model, **options):
    file = io.BytesIO()
    joblib.dump(model, file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (pickle.dumps, "a pickle"),
        (joblib_of, "a pickle"),
        (lambda model: joblib_of(model, compress=3), "zlib-compressed data"),
        (lambda model: b"binf" + bytes(100), "unknown content"),
        (lambda model: bytes(model.get_booster().save_raw("ubj"))[:-100], "what xgboost"),
        (lambda model: bytes(model.get_booster().save_raw("json"))[:-100], "what xgboost"),
        (lambda model: b"{}", "what xgboost"),
        (lambda model: json.dumps({"learner": {}}).encode(), "what xgboost"),
        (lambda model: b"hello, this is text", "text that begins with 'hello"),
    ],
)
def test_other_files_are_told_how_to_be_saved(save, classifier, write, found):
    with pytest.raises(ModelLoadError) as caught:
        load(save(write(classifier)))
    assert f"expected an XGBoost model in JSON or UBJSON, found {found}" in str(caught.value)
    assert "Save it with model.save_model('model.ubj')" in str(caught.value)
    assert "Stack trace" not in str(caught.value)


def test_a_pickle_is_not_unpickled(save):
    class Harmful:
        def __reduce__(self):
            return pytest.fail, ("it ran",)

    with pytest.raises(ModelLoadError, match="found a pickle"):
        load(save(pickle.dumps(Harmful())))


@pytest.mark.parametrize("output", ["label", "probability"])
def test_a_model_without_classes_has_no_labels(save, regressor, output):
    with pytest.raises(ModelLoadError, match="'reg:squarederror', which has no predict_type='"):
        load(save(regressor), predict_type=output)


def test_an_output_that_is_none():
    with pytest.raises(
        ConfigurationError, match="predict_type='proba': known are 'value', 'label'"
    ):
        XgboostModelHandlerPandas("model.ubj", predict_type="proba")


seen = []


def watch(model):
    config = json.loads(model.booster.save_config())
    seen.append(config["learner"]["generic_param"]["nthread"])


def test_threads(run, save, classifier, inputs):
    seen.clear()
    handler = XgboostModelHandlerNumpy(save(classifier))
    execution = Execution(threads=1, validate_fn=watch)
    results = run.one(RunInference(handler, execution=execution), list(inputs[:3]))
    assert seen == ["1"]
    assert len(results) == 3


def test_another_path_is_loaded_after_an_update(save, classifier, binary, inputs):
    handler = XgboostModelHandlerNumpy(save(classifier))
    handler.update_model_path(save(binary))
    [found] = handler.run_inference([inputs[0]], handler.load_model())
    assert found == pytest.approx(binary.predict_proba(inputs[:1])[0, 1])


def test_a_model_of_two_classes_saved_by_the_booster(save, binary, inputs):
    booster = xgboost.Booster(model_file=save(binary))
    handler = XgboostModelHandlerNumpy(save(booster))
    found = handler.run_inference(list(inputs), handler.load_model())
    np.testing.assert_array_equal(found, booster.predict(xgboost.DMatrix(inputs)))
