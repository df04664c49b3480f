"""Logistic regression on 16 columns of float32: next to no work per row, so all is overhead."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from benchmarks.job import Job, Predictor

__all__ = ["JOBS", "Logistic", "matrix"]

_WIDTH = 16


class Logistic(Job):
    """A binary classifier of an array's rows."""

    handler: ClassVar[str] = "sklearn-numpy"

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Normal numbers."""
        values = rng.standard_normal((_WIDTH, rows), dtype=np.float32)
        columns = {f"f{number}": column for number, column in enumerate(values)}
        return pa.table({"id": np.arange(first, first + rows), **columns})

    def write_model(self, folder: Path) -> None:
        """For Beam's handler a pickle, which is what it reads; for all others skops."""
        import skops.io
        from sklearn.linear_model import LogisticRegression

        rng = np.random.default_rng(1)
        values = rng.standard_normal((20_000, _WIDTH), dtype=np.float32)
        is_one = values @ rng.standard_normal(_WIDTH) + rng.standard_normal(20_000) > 0.5
        model = LogisticRegression().fit(values, is_one.astype(np.int64))
        skops.io.dump(model, folder / "model.skops")
        (folder / "model.pickle").write_bytes(pickle.dumps(model))

    def predictor(self, folder: Path) -> Predictor:
        """``predict`` of the matrix."""
        import skops.io

        model = skops.io.load(folder / "model.skops")
        return lambda table: pa.array(model.predict(matrix(table)))

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file."""
        return {"model_uri": str(folder / "model.skops")}

    def examples(self, table: pa.Table) -> Sequence[Any]:
        """Arrays of 16 numbers."""
        return list(matrix(table))

    def beam_handler(self, folder: Path) -> Any:
        """Which reads pickles."""
        from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy

        return SklearnModelHandlerNumpy(str(folder / "model.pickle"))


def matrix(table: pa.Table) -> np.ndarray[Any, Any]:
    """All columns but ``id`` side by side: float32 ``[rows, columns]``."""
    names = [name for name in table.column_names if name != "id"]
    made = np.empty((table.num_rows, len(names)), np.float32)
    for position, name in enumerate(names):
        made[:, position] = table.column(name).to_numpy()
    return made


JOBS = (
    Logistic(
        name="logistic-8m",
        title="logistic regression, 8 M x 16",
        rows=8_000_000,
        quick_rows=80_000,
        systems=("loop", "overlapped", "tables"),  # by rows, 8 M take minutes and show nothing new
    ),
    Logistic(
        name="logistic-2m",
        title="logistic regression, 2 M x 16",
        rows=2_000_000,
        quick_rows=20_000,
    ),
)
