"""Real models, small, and the formats that they are saved in."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

sys.path.append(str(Path(__file__).parent))  # for `estimators`, which tests import too

from estimators import dumped  # found through the line above


@pytest.fixture
def save(tmp_path):
    """``save(model, kind)`` writes a model, or bytes, and returns the path."""
    written = []

    def write(model, kind="pickle"):
        path = tmp_path / f"model-{len(written)}.{kind}"
        path.write_bytes(model if isinstance(model, bytes) else dumped(model, kind))
        written.append(path)
        return str(path)

    return write


@pytest.fixture(scope="session")
def iris():
    data = load_iris()
    order = np.random.default_rng(0).permutation(len(data.target))
    return data.data[order], data.target[order]


@pytest.fixture(scope="session")
def classifier(iris):
    inputs, labels = iris
    return LogisticRegression(max_iter=500).fit(inputs, labels)


@pytest.fixture(scope="session")
def frame(iris):
    """Numbers, texts and a categorical, under names."""
    inputs, labels = iris
    columns = pd.DataFrame(inputs, columns=["a", "b", "c", "d"])
    columns["text"] = np.where(inputs[:, 0] > 5.8, "long", "short")
    columns["kind"] = pd.Categorical(np.where(labels > 0, "u", "v"))
    return columns
