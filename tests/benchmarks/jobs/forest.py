"""A random forest on 64 columns: the model's own work is nearly all there is."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.job import Predictor
from benchmarks.jobs.logistic import Logistic, matrix

__all__ = ["JOBS", "Forest"]

_WIDTH = 64
_TRUSTED = ["sklearn.tree._tree.Tree"]


class Forest(Logistic):
    """A classifier of 100 trees, 12 levels deep, in one thread or two."""

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Normal numbers."""
        values = rng.standard_normal((_WIDTH, rows), dtype=np.float32)
        columns = {f"f{number}": column for number, column in enumerate(values)}
        return pa.table({"id": np.arange(first, first + rows), **columns})

    def write_model(self, folder: Path) -> None:
        """For Beam's handler, which has no option for it, with the number of threads in it."""
        import skops.io
        from sklearn.ensemble import RandomForestClassifier

        rng = np.random.default_rng(2)
        values = rng.standard_normal((10_000, _WIDTH), dtype=np.float32)
        labels = (values[:, 0] > 0).astype(np.int64) + (values[:, 1] * values[:, 2] > 0.2)
        model = RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=2)
        model.fit(values, labels)
        model.n_jobs = None
        skops.io.dump(model, folder / "model.skops")
        model.n_jobs = self.threads
        (folder / "model.pickle").write_bytes(pickle.dumps(model))

    def predictor(self, folder: Path) -> Predictor:
        """``predict`` of the matrix."""
        import skops.io

        model = skops.io.load(folder / "model.skops", trusted=_TRUSTED)
        model.n_jobs = self.threads
        return lambda table: pa.array(model.predict(matrix(table)))

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file, and the one type in it that skops does not trust of itself."""
        return {**super().options(folder), "trusted_types": _TRUSTED}


JOBS: tuple[Any, ...] = (
    Forest(
        name="forest",
        title="random forest, 200 k x 64, one thread",
        rows=200_000,
        quick_rows=2_000,
        peers=(),  # theirs run in two processes: see the job with two threads
        threads=1,
    ),
    Forest(
        name="forest-2",
        title="random forest, 200 k x 64, two threads",
        rows=200_000,
        quick_rows=2_000,
        systems=("loop", "overlapped", "tables"),
        threads=2,
    ),
    Forest(
        name="forest-1m",
        title="random forest, 1 M x 64, one thread",
        rows=1_000_000,
        quick_rows=2_000,
        systems=("loop", "overlapped", "tables"),
        peers=(),
        threads=1,
    ),
    Forest(
        name="forest-2-1m",
        title="random forest, 1 M x 64, two threads",
        rows=1_000_000,
        quick_rows=2_000,
        systems=("loop", "overlapped", "tables"),
        peers=(),
        threads=2,
    ),
)
