"""Compare two models in an A/B test, and let both decide together, as an ensemble.

    python compare_models.py

trains a linear model and a forest on half of scikit-learn's breast cancer data. Each other patient
is predicted by one of the two, and then by both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import apache_beam as beam
import joblib
import numpy as np
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from runinference import ABTest, Arms, KeyedModelHandler, PredictionResult, RunInference
from runinference_sklearn import SklearnModelHandlerNumpy

MODELS = {
    "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(20, random_state=0, n_jobs=1),
}
ARMS = Arms({"linear": 0.5, "forest": 0.5}, salt="cancer")


def alone(element: tuple[str, tuple[int, PredictionResult]], labels: list[int]) -> tuple[str, bool]:
    """The arm that predicted a patient, and whether it was right."""
    arm, (patient, result) = element
    return arm, (result.inference[1] > 0.5) == labels[patient]


def together(element: tuple[int, list[PredictionResult]], labels: list[int]) -> tuple[str, bool]:
    """Whether the mean of the probabilities is right."""
    patient, results = element
    probability = np.mean([result.inference[1] for result in results])
    return "both together", (probability > 0.5) == labels[patient]


def show(counts: list[tuple[str, list[bool]]]) -> None:
    """Print how often each was right."""
    for name, is_right in sorted(counts):
        right, count = sum(is_right), len(is_right)
        print(f"{name}: right about {right} of {count} patients, {right / count:.1%}")


def main() -> None:
    """Train, predict, compare."""
    data, labels = load_breast_cancer(return_X_y=True)
    half = len(labels) // 2
    patients = [(number, data[number]) for number in range(half, len(labels))]
    with tempfile.TemporaryDirectory() as folder:
        steps = {}
        for name, model in MODELS.items():
            path = Path(folder, f"{name}.joblib")
            joblib.dump(model.fit(data[:half], labels[:half]), path)
            handler = SklearnModelHandlerNumpy(str(path), method="predict_proba")
            steps[name] = KeyedModelHandler(handler)
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            every = pipeline | beam.Create(patients)
            tested = every | "A/B" >> ABTest(ARMS, {n: RunInference(s) for n, s in steps.items()})
            both = [
                every | f"Ensemble {name}" >> RunInference(step) for name, step in steps.items()
            ]
            decided = (
                both
                | "Results" >> beam.Flatten()
                | "By patient" >> beam.GroupByKey()
                | beam.Map(together, list(labels))
            )
            _ = (
                (tested | beam.Map(alone, list(labels)), decided)
                | "Judged" >> beam.Flatten()
                | "By model" >> beam.GroupByKey()
                | beam.MapTuple(lambda name, is_right: (name, list(is_right)))
                | beam.combiners.ToList()
                | beam.Map(show)
            )


if __name__ == "__main__":
    main()
