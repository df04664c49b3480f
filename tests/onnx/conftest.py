"""Real models, small: graphs written by hand, and a classifier exported from scikit-learn."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression

sys.path.append(str(Path(__file__).parent))  # for `graphs`, which tests import too

import graphs  # found through the line above


@pytest.fixture
def save(tmp_path):
    """``save(model)`` writes a model, or bytes, and returns the path."""
    written = []

    def write(model):
        path = tmp_path / f"model-{len(written)}.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        written.append(path)
        return str(path)

    return write


@pytest.fixture
def linear(save):
    """``[any, 4]`` numbers in, ``[any, 2]`` out: ``x @ graphs.WEIGHTS``."""
    return save(graphs.linear())


@pytest.fixture(scope="session")
def classifier():
    """A model of labels and probabilities, with the scikit-learn model that it comes from."""
    from skl2onnx import to_onnx

    random = np.random.default_rng(0)
    inputs = random.normal(size=(200, 4)).astype(np.float32)
    fitted = LogisticRegression().fit(inputs, np.where(inputs.sum(axis=1) > 0, "yes", "no"))
    exported = to_onnx(fitted, inputs[:1], options={"zipmap": False}, target_opset=17)
    onnx.checker.check_model(exported)
    return exported, fitted, inputs
