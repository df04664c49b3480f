"""Predict how diabetes progresses, from tables with numbers and categories.

    python predict_patients.py

trains a pipeline of scikit-learn's on 300 patients of its diabetes data, with pandas columns, and
predicts the other 142 as Arrow tables.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import apache_beam as beam
import pandas as pd
import pyarrow as pa
import skops.io
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from runinference import RunTableInference

NUMBERS = ["age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
CATEGORIES = ["sex", "weight"]
SHOWN = ["age", "sex", "weight", "bp", "progression", "prediction"]
TRAINED = 300  # patients


def patients() -> pd.DataFrame:
    """Those of the data set, with sex and weight as words."""
    numbers, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    frame = numbers.assign(
        sex=numbers["sex"].map({1.0: "one", 2.0: "other"}),
        weight=pd.cut(numbers["bmi"], [0, 25, 30, 99], labels=["normal", "over", "far over"]),
        progression=progression,
    )
    return frame.astype({"sex": "category"}).sample(frac=1, random_state=0)


def train(frame: pd.DataFrame, path: Path) -> None:
    """Fit a pipeline that takes the columns as they are, and save it without code."""
    columns = make_column_transformer(
        (StandardScaler(), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
    )
    skops.io.dump(make_pipeline(columns, RidgeCV()).fit(frame, frame["progression"]), path)


def show(tables: list[pa.Table]) -> None:
    """Print some patients, and how far the predictions are from what was measured a year later."""
    scored = pa.concat_tables(tables).to_pandas()
    print(scored[SHOWN].round(1).head(6).to_string(index=False))
    error = (scored["prediction"] - scored["progression"]).abs().mean()
    guess = (scored["progression"].median() - scored["progression"]).abs().mean()
    print(f"{len(scored)} patients: off by {error:.0f} on average, the median by {guess:.0f}")


def main() -> None:
    """Train, predict, print."""
    frame = patients()
    rest = pa.Table.from_pandas(frame[TRAINED:], preserve_index=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.skops")
        train(frame[:TRAINED], path)
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            (
                pipeline
                | beam.Create([rest.slice(row, 50) for row in range(0, len(rest), 50)])
                | RunTableInference(
                    "sklearn-pandas", model_uri=str(path), trusted_types=["numpy.dtype"]
                )
                | beam.combiners.ToList()
                | beam.Map(show)
            )


if __name__ == "__main__":
    main()
