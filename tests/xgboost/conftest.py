"""Real models, small, and the files that they are saved in."""

import numpy as np
import pandas as pd
import pytest
import xgboost


@pytest.fixture
def save(tmp_path):
    """``save(model, kind)`` writes a model, or bytes, and returns the path."""
    written = []

    def write(model, kind="ubj"):
        path = tmp_path / f"model-{len(written)}.{kind}"
        if isinstance(model, bytes):
            path.write_bytes(model)
        else:
            model.save_model(path)
        written.append(path)
        return str(path)

    return write


@pytest.fixture(scope="session")
def inputs():
    return np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def classifier(inputs):
    """Of three classes, trained on arrays."""
    labels = np.digitize(inputs.sum(axis=1), [-1, 1])
    return xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1).fit(inputs, labels)


@pytest.fixture(scope="session")
def binary(inputs):
    """Of two classes, trained on arrays."""
    labels = (inputs.sum(axis=1) > 0).astype(int)
    return xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1).fit(inputs, labels)


@pytest.fixture(scope="session")
def frame(inputs):
    """Numbers with gaps, and two columns of categories."""
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "age": np.where(inputs[:, 0] > 1, np.nan, inputs[:, 0]),
            "city": pd.Categorical(random.choice(["Bern", "Oslo", "Rome"], 200)),
            "rooms": random.integers(1, 5, 200),
            "is_new": inputs[:, 1] > 0,
        }
    )


@pytest.fixture(scope="session")
def regressor(frame):
    """Trained on the frame."""
    target = (frame["city"] == "Oslo") * 3.0 + frame["age"].fillna(2) + frame["rooms"]
    model = xgboost.XGBRegressor(n_estimators=10, enable_categorical=True, n_jobs=1)
    return model.fit(frame, target)
