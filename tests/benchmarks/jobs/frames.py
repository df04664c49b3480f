"""A scikit-learn pipeline that takes DataFrames: single rows, and the rows of a file at once."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from benchmarks.job import Job, Predictor

__all__ = ["JOBS", "Frames"]

_PLACES = np.array(["north", "east", "south", "west", "centre"], dtype=object)


class Frames(Job):
    """Numbers of three widths and a text column, scaled and one-hot encoded by the pipeline."""

    handler: ClassVar[str] = "sklearn-pandas"

    def table(self, rng: np.random.Generator, first: int, rows: int) -> pa.Table:
        """Nine columns."""
        columns: dict[str, Any] = {"id": np.arange(first, first + rows)}
        for number in range(5):
            columns[f"f{number}"] = rng.standard_normal(rows, dtype=np.float32)
        columns["amount"] = rng.lognormal(3, 1, rows)
        columns["age"] = rng.integers(18, 90, rows, dtype=np.int32)
        columns["visits"] = rng.poisson(4, rows)
        columns["place"] = pa.array(_PLACES[rng.integers(0, len(_PLACES), rows)], pa.string())
        return pa.table(columns)

    def write_model(self, folder: Path) -> None:
        """Trained on a frame, so that it knows its columns."""
        import skops.io
        from sklearn.compose import ColumnTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        frame = self.table(np.random.default_rng(3), 0, 20_000).drop(["id"]).to_pandas()
        label = (frame["age"] + 10 * frame["f0"] + 5 * (frame["place"] == "north") > 55).astype(int)
        numbers = [name for name in frame.columns if name != "place"]
        columns = ColumnTransformer(
            [("numbers", StandardScaler(), numbers), ("texts", OneHotEncoder(), ["place"])]
        )
        model = make_pipeline(columns, LogisticRegression()).fit(frame, label)
        skops.io.dump(model, folder / "model.skops")
        (folder / "model.pickle").write_bytes(pickle.dumps(model))

    def predictor(self, folder: Path) -> Predictor:
        """``predict`` of the frame."""
        import skops.io

        model = skops.io.load(folder / "model.skops")
        return lambda table: pa.array(model.predict(table.drop(["id"]).to_pandas()))

    def options(self, folder: Path) -> dict[str, Any]:
        """The model's file."""
        return {"model_uri": str(folder / "model.skops")}

    def examples(self, table: pa.Table) -> Sequence[Any]:
        """Frames of one row."""
        frame = table.drop(["id"]).to_pandas()
        return [frame.iloc[row : row + 1] for row in range(len(frame))]

    def beam_handler(self, folder: Path) -> Any:
        """Which reads pickles."""
        from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerPandas

        return SklearnModelHandlerPandas(str(folder / "model.pickle"))


JOBS = (
    Frames(
        name="frames-single",
        title="DataFrames of one row, 20 k x 9",
        rows=20_000,
        quick_rows=400,
        systems=("loop", "tables", "rows", "beam"),
        peers=(),
    ),
    Frames(
        name="frames",
        title="DataFrames, 1 M x 9",
        rows=1_000_000,
        quick_rows=10_000,
        systems=("loop", "overlapped", "tables"),  # Beam's handler takes frames of one row only
    ),
)
