"""Examples in are results out and failures out, each example once, whatever a handler does."""

import sys
import uuid

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from runinference import (
    BatchConfig,
    ExampleFailed,
    KeyedModelHandler,
    ModelHandler,
    RunInference,
    RunTableInference,
    VectorModelHandler,
)
from runinference.batch import RowBatch, TableBatch
from runinference.errors import TooManyFailuresError
from runinference.failures import FailurePolicy, Isolation
from runinference.hooks import Observers, observer
from runinference.limits import Limits
from runinference.model import LocalModel
from runinference.solve import solve
from runinference.versions import ModelVersion


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("odd")
        self.frame = sys._getframe()


def half_way(predictions):
    yield from predictions[: len(predictions) // 2]
    raise RuntimeError("the generator stopped")


def fail(error):
    raise error


def emptied(batch, predictions):
    batch.clear()
    return predictions


def changed(batch, predictions):
    batch[:] = [-1, *batch[:0:-1]]
    return predictions


# What a call may come to: a batch (which is the handler's own to spoil) and its true predictions.
BEHAVIOURS = {
    "right": lambda batch, predictions: predictions,
    "generator": lambda batch, predictions: iter(predictions),
    "empties its batch": emptied,
    "changes its batch": changed,
    "marks one": lambda batch, predictions: [ExampleFailed(ValueError("no")), *predictions[1:]],
    "marks all": lambda batch, predictions: [ExampleFailed(ValueError("no")) for _ in batch],
    "too few": lambda batch, predictions: predictions[1:],
    "too many": lambda batch, predictions: [*predictions, 0],
    "too few for its emptied batch": lambda batch, predictions: emptied(batch, []),
    "generator of too many": lambda batch, predictions: iter([*predictions, 0]),
    "generator that fails": lambda batch, predictions: half_way(predictions),
    "none": lambda batch, predictions: None,
    "a number": lambda batch, predictions: 7,
    "text": lambda batch, predictions: "x" * len(batch),
    "raises": lambda batch, predictions: fail(ValueError("no")),
    "raises what cannot be pickled": lambda batch, predictions: fail(Unpicklable()),
    "runs out of memory": lambda batch, predictions: fail(MemoryError()),
    "leaves": lambda batch, predictions: sys.exit(3),
}
HONEST = ["right", "generator", "empties its batch", "changes its batch"]


class Scripted(ModelHandler):
    """Doubles numbers; its calls come to what the script says, over and over again.

    Args:
        script: of names of behaviours.
        bad: numbers on which each call raises.
        marks: whether they are marked instead.
    """

    def __init__(self, script, bad=(), marks=False):
        self.script = script
        self.bad = frozenset(bad)
        self.marks = marks

    def load_model(self):
        self.calls = 0

    def run_inference(self, batch, model, inference_args=None):
        behaviour = BEHAVIOURS[self.script[self.calls % len(self.script)]]
        self.calls += 1
        if not self.marks and self.bad.intersection(batch):
            raise ValueError("bad")
        predictions = [
            ExampleFailed(ValueError("bad")) if example in self.bad else example * 2
            for example in batch
        ]
        return behaviour(batch, predictions)


class Count:
    """The observer that counts."""

    def __init__(self):
        self.predicted = self.failed = 0

    @observer
    def batch_predicted(self, event):
        self.predicted += event.size

    @observer
    def examples_failed(self, event):
        self.failed += event.size


def solved(handler, batch, policy, *, times=1, **batching):
    """Predictions and failed positions, once it is sure that each example is in one of them."""
    model = LocalModel(ModelVersion(handler, "fingerprint"))
    isolation, limits = Isolation(enough=8), Limits(BatchConfig(**batching))
    size = len(batch)
    for _ in range(times):
        count = Count()
        parts, failures = solve(batch, model, limits, None, Observers([count]), policy, isolation)
        good = [position for positions, _ in parts for position in positions]
        bad = [position for failed in failures for position in failed.positions]
        assert sorted([*good, *bad]) == list(range(size))
        assert (count.predicted, count.failed) == (len(good), len(bad))
        assert all(len(positions) == len(predictions) for positions, predictions in parts)
    return parts, bad


unhurried = settings(deadline=None)  # a busy machine is no failure
# a pipeline takes a second, and to shrink a failure hundreds of them
in_pipelines = settings(unhurried, max_examples=8, phases=[Phase.explicit, Phase.generate])
scripts = st.lists(st.sampled_from(list(BEHAVIOURS)), min_size=1, max_size=6)
sizes = st.integers(1, 60)
policies = st.builds(FailurePolicy, st.just(Exception), isolate=st.booleans())
max_sizes = st.none() | st.integers(1, 20)


@unhurried
@given(scripts, sizes, policies, max_sizes)
def test_whatever_the_calls_come_to(script, size, policy, max_size):
    batch = RowBatch(list(range(size)))
    parts, _ = solved(Scripted(script), batch, policy, times=2, max_size=max_size)
    assert batch.examples == list(range(size))
    for positions, predictions in parts:
        assert predictions == [position * 2 for position in positions]


@unhurried
@given(
    script=st.lists(st.sampled_from(HONEST), min_size=1, max_size=4),
    bad=st.sets(st.integers(0, 59), max_size=8),
    marks=st.booleans(),
    size=sizes,
    max_size=max_sizes,
)
def test_exactly_the_bad_examples_fail(script, bad, marks, size, max_size):
    handler = Scripted(script, bad, marks)
    batch = RowBatch(list(range(size)))
    model = LocalModel(ModelVersion(handler, "fingerprint"))
    policy, limits = FailurePolicy(Exception), Limits(BatchConfig(max_size=max_size))
    parts, failures = solve(batch, model, limits, None, Observers(), policy, Isolation())
    failed = {position for each in failures for position in each.positions}
    assert failed == {number for number in bad if number < size}
    predicted = dict(pair for own, values in parts for pair in zip(own, values, strict=True))
    assert predicted == {n: n * 2 for n in range(size) if n not in bad}


class Steps(VectorModelHandler):
    """Prepares, and tells lengths; ``prepare`` may spoil what it is given."""

    def __init__(self, prepare, bad=()):
        self.how = prepare
        self.bad = frozenset(bad)

    def load_model(self):
        return None

    def prepare(self, examples, model):
        if self.bad.intersection(examples):
            raise ValueError("bad")
        if self.how == "lazy":
            return (example + 1 for example in examples)
        prepared = [example + 1 for example in examples]
        if self.how == "empties":
            examples.clear()
        if self.how == "empties and loses":
            examples.clear()
            return []
        if self.how == "loses one":
            return prepared[1:]
        if self.how == "takes one out":
            examples.pop()
            return prepared[:-1]
        return prepared

    def length(self, example):
        return example % 7

    def collate(self, examples, model):
        if self.how == "collate empties":
            collated = list(examples)
            examples.clear()
            return collated
        return examples

    def predict(self, batch, model, inference_args):
        return [number * 2 for number in batch]


PREPARES = ["well", "lazy", "empties"]
LOSING = ["empties and loses", "loses one", "takes one out", "collate empties"]


@unhurried
@given(
    how=st.sampled_from(PREPARES + LOSING),
    bad=st.sets(st.integers(0, 39), max_size=4),
    size=st.integers(1, 40),
    max_tokens=st.none() | st.integers(1, 30),
    policy=policies,
)
def test_whatever_the_preparation_does(how, bad, size, max_tokens, policy):
    batch = RowBatch(list(range(size)))
    parts, failed = solved(Steps(how, bad), batch, policy, max_tokens=max_tokens)
    assert batch.examples == list(range(size))
    for positions, predictions in parts:
        assert predictions == [(position + 1) * 2 for position in positions]
    if how in PREPARES and policy.isolate:
        assert set(failed) == {number for number in bad if number < size}


@unhurried
@given(scripts, sizes, policies, max_sizes)
def test_rows_of_tables(script, size, policy, max_size):
    table = pa.table({"a": range(size)})
    batch = TableBatch(table, ("a",))
    parts, _ = solved(Scripted(script), batch, policy, times=2, max_size=max_size)
    for positions, predictions in parts:
        assert predictions["prediction"].to_pylist() == [position * 2 for position in positions]


def taken(collection, label):
    """A collection's elements, once the pipeline has run."""
    name = uuid.uuid4().hex
    _taken[name] = []
    _ = collection | label >> beam.Map(_take, name)
    return _taken[name]


def _take(element, name):
    _taken[name].append(element)


_taken = {}


@in_pipelines
@given(
    script=scripts,
    bad=st.sets(st.integers(0, 79), max_size=5),
    isolate=st.booleans(),
    max_size=st.integers(1, 30),
    keyed=st.booleans(),
)
def test_in_a_pipeline(script, bad, isolate, max_size, keyed):
    handler = Scripted(script, bad)
    if keyed:
        handler = KeyedModelHandler(handler)
    transform = RunInference(handler, batching=BatchConfig(max_size=max_size))
    inputs = [(f"k{number}", number) if keyed else number for number in range(80)]
    results, failures, counted = ran(transform, inputs, isolate)
    if keyed:
        assert all(result[0] == f"k{result[1].example}" for result in results)
        assert all(failure.key == f"k{failure.example}" for failure in failures)
        results = [result for _, result in results]
    numbers = [result.example for result in results]
    assert sorted([*numbers, *(failure.example for failure in failures)]) == list(range(80))
    assert all(result.inference == result.example * 2 for result in results)
    assert counted == (80, len(results), len(failures))


@in_pipelines
@given(
    script=scripts,
    bad=st.sets(st.integers(0, 79), max_size=5),
    isolate=st.booleans(),
    max_size=st.integers(1, 30),
)
def test_tables_in_a_pipeline(script, bad, isolate, max_size):
    transform = RunTableInference(
        Scripted(script, bad), features=["a"], batching=BatchConfig(max_size=max_size)
    )
    tables = [pa.table({"a": range(20 * part, 20 * part + 20)}) for part in range(4)]
    results, failures, counted = ran(transform, tables, isolate)
    rows = [row for table in results for row in table.to_pylist()]
    failed = [row for table in failures for row in table.to_pylist()]
    assert sorted(row["a"] for row in [*rows, *failed]) == list(range(80))
    assert all(row["prediction"] == row["a"] * 2 for row in rows)
    assert all(row["failure_stage"] == "inference" and row["failure_type"] for row in failed)
    assert counted == (80, len(rows), len(failed))


def ran(transform, inputs, isolate):
    """Results, failures and what the metrics count; a run without any result fails."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    created = pipeline | beam.Create(inputs, reshuffle=False)
    results, dead = created | transform.with_exception_handling(isolate=isolate)
    results, failures = taken(results, "Results"), taken(dead.failed_inferences, "Failures")
    try:
        run = pipeline.run()
    except TooManyFailuresError:
        assert not results
        return results, failures, (80, 0, 80)
    counters = run.metrics().query()["counters"]
    counts = {counter.key.metric.name: counter.committed for counter in counters}
    names = ("num_examples", "num_inferences", "num_failures")
    return results, failures, tuple(counts.get(name, 0) for name in names)
