"""Predict the width of petals with a model per kind of iris, which the key of each flower tells.

    python measure_petals.py

trains a regression for each kind of scikit-learn's iris data, and one for all, on half of the
flowers. The others are predicted under keys, by which each prediction finds what was measured.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import apache_beam as beam
import joblib
import numpy as np
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression

from runinference import KeyedModelHandler, PredictionResult, RunInference
from runinference_sklearn import SklearnModelHandlerNumpy

Key = tuple[str, int]  # the kind of a flower, and its number


def train(rows: np.ndarray, path: Path) -> SklearnModelHandlerNumpy:
    """A model of the width of a petal, the last measure, from the three others."""
    joblib.dump(LinearRegression().fit(rows[:, :3], rows[:, 3]), path)
    return SklearnModelHandlerNumpy(str(path))


class Error(beam.DoFn):
    """How far a prediction is from what was measured, in centimetres, by the flower's kind."""

    def __init__(self, measured: np.ndarray) -> None:
        self.measured = measured

    def process(self, element: tuple[Key, PredictionResult]):
        (kind, number), result = element
        yield kind, abs(result.inference - self.measured[number])


def show(errors: list[tuple[str, dict[str, list[float]]]]) -> None:
    """A line for each kind."""
    print(f"{'kind':<12}{'its own model':>15}{'one for all':>13}")
    for kind, means in sorted(errors):
        print(f"{kind:<12}{means['own'][0]:>12.2f} cm{means['shared'][0]:>10.2f} cm")


def main() -> None:
    """Train, predict, compare."""
    data = load_iris()
    kinds = data.target_names[data.target]
    rest = [((str(kinds[n]), n), data.data[n, :3]) for n in range(1, len(kinds), 2)]
    with tempfile.TemporaryDirectory() as folder:
        shared = train(data.data[::2], Path(folder, "all.joblib"))
        own = {
            str(kind): train(data.data[::2][kinds[::2] == kind], Path(folder, f"{kind}.joblib"))
            for kind in data.target_names
        }
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            flowers = pipeline | beam.Create(rest)
            errors = {
                name: flowers
                | f"Predict {name}" >> RunInference(handler)
                | f"Compare {name}" >> beam.ParDo(Error(data.data[:, 3]))
                | f"Average {name}" >> beam.combiners.Mean.PerKey()
                for name, handler in (
                    ("own", KeyedModelHandler(models_for=lambda key: own[key[0]])),
                    ("shared", KeyedModelHandler(shared)),
                )
            }
            _ = errors | beam.CoGroupByKey() | beam.combiners.ToList() | beam.Map(show)


if __name__ == "__main__":
    main()
