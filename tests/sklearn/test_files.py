"""Model files: three formats, damage of every kind, and what is not trusted."""

import bz2
import functools
import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
import zlib
from pathlib import Path

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

from runinference import RunInference, files
from runinference.errors import ConfigurationError, ModelLoadError
from runinference.hooks import observer, observing
from runinference_sklearn import (
    ModelFileType,
    SklearnModelHandlerNumpy,
    SklearnModelHandlerPandas,
)

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
        name = str(raised.value).split(" names ")[1].split(". ")[0]
        assert name.startswith("scipy.special")
        assert name.endswith(".expit")
        assert "found one that names scipy" in str(raised.value)
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


FORBID = "RUNINFERENCE_FORBID_MODEL_CODE"


def test_a_pinned_file_is_the_one_that_is_loaded(save, classifier):
    path = save(classifier)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    handler = SklearnModelHandlerNumpy(path, model_sha256=digest.upper())
    assert handler.load_model().n_features_in_ == 4
    assert handler.sha256 == digest
    with open(path, "ab") as file:
        file.write(b"\n")
    changed = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    with pytest.raises(ModelLoadError) as raised:
        SklearnModelHandlerPandas(path, model_sha256=digest).load_model()
    assert digest in str(raised.value)
    assert changed in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"model_sha256='abc'.* 64 hexadecimal"):
        SklearnModelHandlerNumpy(path, model_sha256="abc")


def test_the_digest_is_observed_when_the_model_is_loaded(save, classifier, iris, run):
    heard = []

    class Ear:
        @observer
        def model_loaded(self, event):
            heard.append(event)

    path = save(classifier)
    with observing(Ear()):
        run.one(RunInference(SklearnModelHandlerNumpy(path)), [iris[0][0]])
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert [event.sha256 for event in heard] == [digest]


@pytest.mark.parametrize(
    "option", [{"allow_unsafe_pickle": True}, {"trusted_types": ["scipy.special.expit"]}]
)
def test_the_environment_forbids_code_and_what_is_not_on_the_list(
    option, save, classifier, monkeypatch
):
    path = save(classifier)
    made = SklearnModelHandlerNumpy(path, **option)
    monkeypatch.setenv(FORBID, "1")
    named = next(iter(option))
    with pytest.raises(ConfigurationError, match=f"{named}=.* is refused: .*{FORBID}"):
        SklearnModelHandlerNumpy(path, **option)
    with pytest.raises(ModelLoadError, match=f"{named}=.* is refused: .*{FORBID}"):
        made.load_model()  # as on a worker, whose environment forbids it
    SklearnModelHandlerNumpy(path).load_model()


def test_what_is_on_the_list_may_be_trusted_in_a_skops_file_all_the_same(save, iris, monkeypatch):
    forest = RandomForestClassifier(2, random_state=0).fit(*iris)
    untrusted = skops.io.get_untrusted_types(data=dumped(forest, "skops"))
    monkeypatch.setenv(FORBID, "1")
    handler = SklearnModelHandlerNumpy(save(forest, "skops"), trusted_types=untrusted)
    assert len(handler.load_model().estimators_) == 2


def test_no_environment_variable_makes_a_file_run_code(save, monkeypatch):
    monkeypatch.setenv(FORBID, "0")
    for name in ("ALLOW_UNSAFE_PICKLE", "TRUSTED_TYPES"):
        monkeypatch.setenv(f"RUNINFERENCE_{name}", "1")
    with pytest.raises(ModelLoadError, match=r"names (_io|io)\.open"):
        SklearnModelHandlerNumpy(save(Payload())).load_model()


@functools.cache
def bomb(kind):
    """200 MB of zeros in a few hundred kilobytes."""
    zeros = b"\x80" + bytes(200_000_000)
    if kind != "skops":
        return {"zlib": zlib.compress, "gzip": gzip.compress, "bz2": bz2.compress}[kind](zeros)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", zeros)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["zlib", "gzip", "bz2", "skops"])
@pytest.mark.parametrize("unsafe", [False, True])
def test_what_unpacks_to_more_than_memory_is_refused(kind, unsafe, save, monkeypatch):
    monkeypatch.setattr(files, "available_bytes", lambda: 50_000_000)
    path = save(bomb(kind))
    tracemalloc.start()
    try:
        with pytest.raises(ModelLoadError, match=r"unpacked it is 0\.1 GB or more, and 0\.1 GB of"):
            SklearnModelHandlerNumpy(path, allow_unsafe_pickle=unsafe).load_model()
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


def test_a_size_in_the_directory_of_an_archive_is_not_believed(save):
    data = bomb("skops")
    true, small = struct.pack("<L", 200_000_001), struct.pack("<L", 100)
    assert data.count(true) == 2
    with pytest.raises(ModelLoadError, match="Bad CRC-32"):
        SklearnModelHandlerNumpy(save(data.replace(true, small))).load_model()
