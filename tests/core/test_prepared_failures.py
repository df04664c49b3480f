"""An example that ``prepare`` marks as failed never reaches the model, and harms no other one."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from runinference import ExampleFailed, RunInference, RunTableInference, VectorModelHandler
from runinference.errors import ExampleFailedError

calls = []


class Readings(VectorModelHandler):
    """Texts of numbers with blanks between; answers with their sum."""

    def load_model(self):
        return None

    def prepare(self, examples, model):
        return [self.numbers(text) for text in examples]

    def numbers(self, text):
        try:
            return [float(part) for part in text.split()]
        except ValueError as error:
            return ExampleFailed(error)

    def collate(self, examples, model):
        calls.append(len(examples))
        return examples

    def predict(self, batch, model, inference_args):
        return np.array([sum(numbers) for numbers in batch])


class Sized(Readings):
    """Tells lengths too."""

    def length(self, prepared):
        return len(prepared)


TEXTS = ["1 2", "one", "3", "", "4 x"]


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


@pytest.mark.parametrize("kind", [Readings, Sized])
def test_the_others_are_predicted_in_their_places(kind):
    found = kind().run_inference(TEXTS, None)
    assert [type(p) is ExampleFailed for p in found] == [False, True, False, False, True]
    assert [p for p in found if not isinstance(p, ExampleFailed)] == [3.0, 3.0, 0.0]
    assert "could not convert" in str(found[1].error)
    assert calls == [3]


@pytest.mark.parametrize("kind", [Readings, Sized])
def test_where_all_have_failed_the_model_is_not_called(kind):
    found = kind().run_inference(["x", "y"], None)
    assert all(isinstance(prediction, ExampleFailed) for prediction in found)
    assert calls == []


@pytest.mark.parametrize("kind", [Readings, Sized])
def test_in_a_pipeline(kind, run):
    transform = RunInference(kind()).with_exception_handling()
    with run.pipeline() as pipeline:
        results, failures = pipeline | beam.Create(TEXTS, reshuffle=False) | transform
        run.keep(results, "results")
        run.keep(failures.failed_inferences, "failures")
    assert sorted(r.inference for r in run.elements("results")) == [0.0, 3.0, 3.0]
    assert sorted(f.example for f in run.elements("failures")) == ["4 x", "one"]
    with pytest.raises(ExampleFailedError, match="could not convert string to float: 'one'"):
        run.one(RunInference(kind()), TEXTS)


@pytest.mark.parametrize("kind", [Readings, Sized])
def test_of_a_table(kind, run):
    table = pa.table({"text": TEXTS})
    transform = RunTableInference(kind(), features=["text"]).with_exception_handling()
    with run.pipeline() as pipeline:
        tables, failures = pipeline | beam.Create([table], reshuffle=False) | transform
        run.keep(tables, "tables")
        run.keep(failures.failed_inferences, "failures")
    scored = pa.concat_tables(run.elements("tables")).to_pylist()
    assert sorted((row["text"], row["prediction"]) for row in scored) == [
        ("", 0.0),
        ("1 2", 3.0),
        ("3", 3.0),
    ]
    failed = pa.concat_tables(run.elements("failures"))
    assert sorted(failed["text"].to_pylist()) == ["4 x", "one"]
