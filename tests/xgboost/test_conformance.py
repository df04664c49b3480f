"""The rules of the contract that all handlers keep."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost

from runinference.testing import parametrize_with_checks
from runinference_xgboost import XgboostModelHandlerNumpy, XgboostModelHandlerPandas

FOLDER = tempfile.TemporaryDirectory()
ROWS = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
FRAME = pd.DataFrame(ROWS, columns=["age", "rooms", "income"]).assign(
    city=pd.Categorical(np.where(ROWS[:, 1] > 0, "Bern", "Oslo"))
)
# of different classes, so that labels tell them apart too
CHOSEN = np.argsort(ROWS.sum(axis=1))[[0, 50, 99]]


def trained(name, inputs, sign=1):
    model = xgboost.XGBClassifier(n_estimators=5, enable_categorical=True, n_jobs=1)
    model.fit(inputs, np.digitize(sign * ROWS.sum(axis=1), [-1, 1]))
    path = str(Path(FOLDER.name) / name)
    model.save_model(path)
    return path


def of_each_way(handler, path):
    """Those that are computed in different ways."""
    return [handler(path, predict_type=kind) for kind in ("label", "probability", "contributions")]


@parametrize_with_checks(
    of_each_way(XgboostModelHandlerNumpy, trained("rows.ubj", ROWS)),
    examples=list(ROWS[CHOSEN]),
    table=pa.table({f"f{i}": ROWS[CHOSEN, i] for i in range(3)}),
    other_model=trained("other-rows.ubj", ROWS, sign=-1),
)
def test_numpy(handler, check):
    check(handler)


@parametrize_with_checks(
    of_each_way(XgboostModelHandlerPandas, trained("frame.ubj", FRAME)),
    examples=[FRAME.iloc[row : row + 1] for row in CHOSEN],
    table=pa.Table.from_pandas(FRAME.iloc[CHOSEN], preserve_index=False),
    other_model=trained("other-frame.ubj", FRAME, sign=-1),
)
def test_pandas(handler, check):
    check(handler)
