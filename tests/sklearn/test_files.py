"""Model files: three formats, damage of every kind, and what is not trusted."""

import io
import pickle
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
import sklearn
import skops.io
from estimators import dumped
from scipy import special
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from runinference.errors import ConfigurationError, ModelLoadError
from runinference_sklearn import ModelFileType, SklearnModelHandlerNumpy

KINDS = [kind.value for kind in ModelFileType]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", [True, False])
def test_formats(kind, said, save, classifier, iris):
    path = save(classifier, kind)
    handler = SklearnModelHandlerNumpy(path, ModelFileType(kind) if said else None)
    model = handler.load_model()
    assert np.array_equal(model.predict(iris[0]), classifier.predict(iris[0]))
    assert handler.model_id.startswith(f"{path}@")
    assert len(handler.model_id) == len(path) + 13


def test_a_format_by_name_in_any_case(save, classifier):
    path = save(classifier, "skops")
    for name in ("skops", "SKOPS", "Skops"):
        assert SklearnModelHandlerNumpy(path, name).load_model().n_features_in_ == 4
    with pytest.raises(ConfigurationError, match="'pickle', 'joblib', 'skops'"):
        SklearnModelHandlerNumpy(path, "onnx")
    with pytest.raises(ConfigurationError, match="model_file_type=1"):
        SklearnModelHandlerNumpy(path, 1)


@pytest.mark.parametrize("compress", [("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
@pytest.mark.parametrize("kind", ["joblib", None])
def test_compressed_joblib_files(compress, kind, save, classifier, iris):
    file = io.BytesIO()
    joblib.dump(classifier, file, compress=compress)
    path = save(file.getvalue(), "joblib")
    for unsafe in (False, True):
        handler = SklearnModelHandlerNumpy(path, kind, allow_unsafe_pickle=unsafe)
        assert handler.load_model().coef_.shape == (3, 4)


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b'{"model": 1}', "JSON text"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"\x78\x9c" + bytes(30), "zlib-compressed data"),
        (b"\x5d\x00" + bytes(30), "unknown content"),
        (b"\x80\x04\x95", "a pickle (protocol 4), truncated"),
        (b"\x80\xff.", "unknown content"),
        (bytes(1000), "unknown content"),
    ],
)
def test_other_content(kind, data, found, save):
    path = save(data)
    with pytest.raises(ModelLoadError) as raised:
        SklearnModelHandlerNumpy(path, kind).load_model()
    assert found in str(raised.value)
    assert repr(path) in str(raised.value)


def test_absent_files_and_folders(tmp_path):
    with pytest.raises(ModelLoadError, match="does not exist"):
        SklearnModelHandlerNumpy(str(tmp_path / "absent")).load_model()
    with pytest.raises(ModelLoadError, match="is a folder"):
        SklearnModelHandlerNumpy(str(tmp_path)).load_model()


def test_formats_are_not_mistaken_for_each_other(save, classifier):
    with pytest.raises(ModelLoadError, match=r"expected a pickle, found a skops file"):
        SklearnModelHandlerNumpy(save(classifier, "skops"), "pickle").load_model()
    with pytest.raises(ModelLoadError, match=r"expected a skops file, found a pickle"):
        SklearnModelHandlerNumpy(save(classifier, "joblib"), "skops").load_model()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unsafe", [False, True])
def test_files_cut_short_at_many_places(kind, unsafe, save, classifier):
    whole = dumped(classifier, kind)
    for length in sorted({*range(1, 40), *range(40, len(whole), max(1, len(whole) // 60))}):
        path = save(whole[:length], kind)
        with pytest.raises(ModelLoadError, match=rf"{length} bytes\) cannot be loaded: expected"):
            SklearnModelHandlerNumpy(path, kind, allow_unsafe_pickle=unsafe).load_model()


def test_the_error_tells_how_reading_ended(save, classifier):
    path = save(dumped(classifier, "pickle")[:-20])
    with pytest.raises(ModelLoadError, match=r"Reading it ended with \w+: .+ scikit-learn \(inst"):
        SklearnModelHandlerNumpy(path).load_model()


def test_types_that_a_skops_file_asks_to_trust(save, iris):
    forest = RandomForestClassifier(2, random_state=0).fit(*iris)
    path = save(forest, "skops")
    with pytest.raises(ModelLoadError) as raised:
        SklearnModelHandlerNumpy(path).load_model()
    untrusted = skops.io.get_untrusted_types(data=dumped(forest, "skops"))
    assert "sklearn.tree._tree.Tree" in untrusted
    assert f"trusted_types={untrusted!r}" in str(raised.value)
    loaded = SklearnModelHandlerNumpy(path, trusted_types=untrusted).load_model()
    assert np.array_equal(loaded.predict(iris[0]), forest.predict(iris[0]))


def test_names_that_a_pickle_asks_to_trust(save):
    model = make_pipeline(FunctionTransformer(special.expit), LogisticRegression())
    model.fit([[0.0], [9.0]], [0, 1])
    for kind in ("pickle", "joblib"):
        path = save(model, kind)
        with pytest.raises(ModelLoadError) as raised:
            SklearnModelHandlerNumpy(path).load_model()
        name = str(raised.value).split(" names ")[1].split(",")[0]
        assert name.startswith("scipy.special")
        assert name.endswith(".expit")
        assert f"names {name}, which" in str(raised.value)
        assert f"trusted_types=['{name}']" in str(raised.value)
        assert "skops" in str(raised.value)
        assert "allow_unsafe_pickle=True" in str(raised.value)
        for options in ({"trusted_types": [name]}, {"allow_unsafe_pickle": True}):
            loaded = SklearnModelHandlerNumpy(path, **options).load_model()
            assert list(loaded.predict([[0.0], [9.0]])) == [0, 1]


def test_a_model_of_another_library(save, iris):
    from xgboost import XGBClassifier

    booster = XGBClassifier(n_estimators=2, n_jobs=1).fit(*iris)
    path = save(booster)
    trusted = []
    for _ in range(9):
        try:
            handler = SklearnModelHandlerNumpy(path, trusted_types=trusted)
            model = handler.load_model()
        except ModelLoadError as error:
            trusted.append(str(error).split("trusted_types=['")[1].split("'")[0])
        else:
            break
    assert trusted == ["xgboost.sklearn.XGBClassifier", "xgboost.core.Booster"]
    rows = list(iris[0][:20])
    assert handler.run_inference(rows, model) == list(booster.predict(iris[0][:20]))


class Payload:
    def __reduce__(self):
        return open, ("/nowhere/at/all", "w")


@pytest.mark.parametrize("kind", ["pickle", "joblib", None])
def test_a_file_that_would_run_something(kind, save):
    path = save(Payload())
    with pytest.raises(ModelLoadError, match=r"names (_io|io)\.open"):
        SklearnModelHandlerNumpy(path, kind).load_model()
    with pytest.raises(ModelLoadError, match=r"ended with FileNotFoundError: .*/nowhere/at/all"):
        SklearnModelHandlerNumpy(path, kind, allow_unsafe_pickle=True).load_model()


def test_another_version_of_sklearn_is_a_warning(save, classifier):
    from sklearn.exceptions import InconsistentVersionWarning

    older = pickle.dumps(classifier).replace(sklearn.__version__.encode(), b"1.0.0")
    with pytest.warns(InconsistentVersionWarning, match=r"1\.0\.0"):
        SklearnModelHandlerNumpy(save(older)).load_model()


def test_importing_the_plugin_imports_no_framework():
    program = """
        import sys
        import runinference_sklearn as plugin
        plugin.SklearnModelHandlerNumpy("model.skops")
        plugin.SklearnModelHandlerPandas("model.skops")
        for name in ("apache_beam", "joblib", "pandas", "scipy", "sklearn", "skops"):
            assert name not in sys.modules, name
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_other_formats_are_loaded_without_skops(save, classifier):
    program = f"""
        import sys
        import runinference_sklearn as plugin
        plugin.SklearnModelHandlerNumpy({save(classifier)!r}).load_model()
        for name in ("apache_beam", "skops"):
            assert name not in sys.modules, name
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
