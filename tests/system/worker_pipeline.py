"""A pipeline whose parts are defined in the main program; its workers are other processes.

Given a folder and the options of a runner, it prints what the counters say as JSON; each worker
appends what it sees to files of the folder.
"""

import json
import os
import sys
import threading

import apache_beam as beam
import joblib
import numpy as np
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from sklearn.linear_model import LinearRegression

from runinference import (
    BatchConfig,
    Execution,
    KeyedModelHandler,
    KeyModelMapping,
    ModelHandler,
    RunInference,
)

SIZE = 200
NAMESPACE = "counted"


class Scaled(ModelHandler):
    """Of the main program; has a lock, and functions that no import finds."""

    def __init__(self, factor):
        self.factor = factor
        self.lock = threading.Lock()
        self.scale = lambda example: example * factor  # a closure

    def load_model(self):
        self.model_id = f"times {self.factor}"
        return self.scale

    def run_inference(self, batch, model, inference_args=None):
        with self.lock:
            return [model(example) for example in batch]


class Picky(Scaled):
    """Fails for every tenth number."""

    def run_inference(self, batch, model, inference_args=None):
        if any(example % 10 == 3 for example in batch):
            raise ValueError("a number that ends in 3")
        return super().run_inference(batch, model)


def is_callable(model):
    if not callable(model):
        raise TypeError(model)


def write(element, folder, name):
    with open(f"{folder}/{name}", "a") as file:  # one line is written at once
        file.write(f"{json.dumps([os.getpid(), element])}\n")


def counters(result):
    found = {}
    for counter in result.metrics().query(MetricsFilter())["counters"]:
        step, name = counter.key.step.split("/")[0], counter.key.metric.name
        if counter.key.metric.namespace == NAMESPACE:
            found[f"{step} {name}"] = found.get(f"{step} {name}", 0) + counter.committed
    return found


def main():
    folder, *options = sys.argv[1:]
    inputs = np.arange(20.0).reshape(10, 2)
    joblib.dump(LinearRegression().fit(inputs, inputs @ [2.0, 1.0]), f"{folder}/model.joblib")
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    numbers = pipeline | beam.Create(range(SIZE)) | beam.Reshuffle()

    results, dead = (
        numbers
        | "Dead letters"
        >> RunInference(
            Picky(3).with_postprocess_fn(lambda r: (r.example, r.inference, r.model_id)),
            batching=BatchConfig(max_size=8),
            execution=Execution(warmup_examples=[1], validate_fn=is_callable),
            metrics_namespace=NAMESPACE,
        ).with_exception_handling()
    )
    results | "Results" >> beam.Map(write, folder, "results")
    failed = dead.failed_inferences | beam.Map(lambda f: (f.example, f.stage, f.type, f.message))
    failed | "Failures" >> beam.Map(write, folder, "failures")

    keyed = KeyedModelHandler(
        [KeyModelMapping(["even"], Scaled(2)), KeyModelMapping(["odd"], Scaled(5))]
    )
    pairs = numbers | beam.Map(lambda number: ("odd" if number % 2 else "even", number))
    by_key = pairs | "Keyed" >> RunInference(keyed, metrics_namespace=NAMESPACE)
    by_key | beam.MapTuple(lambda key, r: write((key, r.example, r.inference), folder, "keyed"))

    rows = pipeline | "Rows" >> beam.Create(list(inputs))
    scored = rows | "Plugin" >> RunInference(
        "sklearn-numpy", model_uri=f"{folder}/model.joblib", metrics_namespace=NAMESPACE
    )
    rounded = scored | "Round" >> beam.Map(lambda result: round(float(result.inference), 3))
    rounded | "Scored" >> beam.Map(write, folder, "scored")

    result = pipeline.run()
    result.wait_until_finish()
    print(json.dumps(counters(result)))


if __name__ == "__main__":
    main()
