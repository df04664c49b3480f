"""Faults of models and their files, here and in Beam's RunInference.

Each test is a row of the table in docs/reliability.md, and shows what both do.
"""

import gc
import os
import pickle

import faulty
import numpy as np
import pytest
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy as Beams
from running import run_beams, run_ours
from sklearn.linear_model import LogisticRegression

from runinference.errors import ModelLoadError
from runinference_sklearn import SklearnModelHandlerNumpy as Ours

INPUTS = np.random.default_rng(0).normal(size=(20, 2))

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _files_of_beam():
    """Beam's handler does not close the file that it loads; what complains of it does so here."""
    yield
    gc.collect()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pkl"


def check_refused(path, *parts):
    """One error, with the file's name; no dead letters, since no example is to blame."""
    ours = run_ours(Ours(str(path)), list(INPUTS))
    assert isinstance(ours.error, ModelLoadError)
    for part in [f"model file '{path}'", *parts]:
        assert part in str(ours.error)
    assert (ours.results, ours.failures) == ([], [])


def test_the_model_file_is_not_there(path):
    beams = run_beams(Beams(str(path)), list(INPUTS))
    assert "FileNotFoundError" in str(beams.error)
    check_refused(path, "does not exist: check the path")


@pytest.mark.parametrize(
    ("content", "found"), [("half", "a pickle (protocol 4), truncated"), ("page", "an HTML page")]
)
def test_the_model_file_is_damaged(path, content, found):
    fitted = pickle.dumps(LogisticRegression().fit(INPUTS, INPUTS[:, 0] > 0), protocol=4)
    path.write_bytes(fitted[: len(fitted) // 2] if content == "half" else b"<html>Sign in</html>")
    beams = run_beams(Beams(str(path)), list(INPUTS))
    assert isinstance(beams.error, pickle.UnpicklingError)
    assert "model.pkl" not in str(beams.error)
    check_refused(path, f"found {found}", "Save or copy the model again")


class RunsCode:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_the_model_file_runs_code(path, tmp_path):
    made = tmp_path / "made"
    path.write_bytes(pickle.dumps(RunsCode(str(made))))
    check_refused(path, "names posix.mkdir", "allow_unsafe_pickle=True")
    assert not made.exists()
    beams = run_beams(Beams(str(path)), list(INPUTS))
    assert beams.error is None  # each example is a dead letter
    assert made.exists()


def test_the_model_is_a_dict():
    numbers = list(range(faulty.BATCH))
    beams = run_beams(faulty.ModelIsADict(), numbers)
    assert "cannot create weak reference to 'dict' object" in str(beams.error)
    ours = run_ours(faulty.ModelIsADict(), numbers)
    assert (ours.error, len(ours.results), ours.failures) == (None, 10, [])
