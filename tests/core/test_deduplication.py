"""Equal examples are predicted once; whatever comes out is what comes out without that."""

import collections
import copy
import functools
import math
import sys

import apache_beam as beam
import cloudpickle
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from runinference import (
    BatchConfig,
    ExampleFailed,
    Execution,
    KeyedModelHandler,
    KeyModelMapping,
    ModelHandler,
    RunInference,
    RunTableInference,
    VectorModelHandler,
)
from runinference.batch import RowBatch, TableBatch
from runinference.deduplication import distinct, solve_distinct
from runinference.errors import ConfigurationError, FatalExampleError
from runinference.failures import FailurePolicy
from runinference.hooks import Observers, observer
from runinference.limits import Limits
from runinference.model import LocalModel
from runinference.solve import solve
from runinference.versions import ModelVersion

# A process of its own cannot import this module by the name that pytest gives it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DEDUPLICATE = BatchConfig(deduplicate=True)


class Log(ModelHandler):
    """The logarithm in a list; marks negative numbers, and refuses a call with a zero."""

    def load_model(self):
        self.asked = []
        return self

    def run_inference(self, batch, model, inference_args=None):
        model.asked.append(list(batch))
        return [ExampleFailed(ValueError("negative")) if x < 0 else [math.log(x)] for x in batch]


class Columns(VectorModelHandler):
    """The same of two columns' sum."""

    def load_model(self):
        self.asked = []
        return self

    def collate_table(self, table, model):
        model.asked.append(table)
        return sum(column.to_numpy() for column in table.columns)

    def predict(self, batch, model, inference_args):
        if (batch <= 0).any():
            raise ValueError("math domain error")
        return np.log(batch)


class Ear:
    def __init__(self):
        self.saved = self.failed = self.predicted = 0

    @observer
    def batch_predicted(self, event):
        self.predicted += event.size

    @observer
    def examples_failed(self, event):
        self.failed += event.size

    @observer
    def examples_deduplicated(self, event):
        self.saved += event.size


def loaded(handler):
    return LocalModel(ModelVersion(handler, "log"))


def both(batch, handler, max_size):
    """The results and the failures by position, with and without."""
    ear = Ear()
    policy = FailurePolicy(Exception)
    answers = []
    for way in ("each", "distinct"):
        model = loaded(copy.copy(handler))
        predict = functools.partial(
            solve,
            model=model,
            limits=Limits(BatchConfig(max_size=max_size)),
            inference_args=None,
            observers=Observers([ear] if way == "distinct" else []),
            policy=policy,
        )
        if way == "each":
            solved = predict(batch)
        else:
            solved = solve_distinct(predict, batch, model, Observers([ear]))
        failures = {p: f.reason.message for f in solved.failures for p in f.positions}
        results = {}
        for positions, predictions in solved.parts:
            if isinstance(predictions, pa.Table):
                predictions = predictions.to_pylist()
            results |= dict(zip(positions, predictions, strict=True))
        answers.append((results, failures))
    return answers, ear, model


numbers = st.lists(st.integers(-2, 5), min_size=1, max_size=60)


@settings(max_examples=50)
@given(values=numbers, max_size=st.none() | st.integers(1, 7))
def test_rows_have_equal_results_and_failures(values, max_size):
    (each, once), ear, model = both(RowBatch(values), Log(), max_size)
    assert once == each
    assert sorted([*once[0], *once[1]]) == list(range(len(values)))
    if 0 not in values:  # which makes it search
        asked = [x for batch in model._model.asked for x in batch]
        assert len(asked) == len(set(asked))
    # every example is predicted, saved, or failed
    assert ear.predicted + ear.saved + ear.failed == len(values)
    assert ear.failed == len(once[1])


@settings(max_examples=50)
@given(values=numbers, max_size=st.none() | st.integers(1, 7), chunks=st.integers(1, 3))
def test_tables_have_equal_results_and_failures(values, max_size, chunks):
    column = pa.chunked_array([values[start::chunks] for start in range(chunks)], pa.int64())
    table = pa.table({"id": range(len(values)), "a": column, "b": [1.0] * len(values)})
    batch = TableBatch(table, features=("a", "b"))
    (each, once), ear, _ = both(batch, Columns(), max_size)
    assert once == each
    assert sorted([*once[0], *once[1]]) == list(range(len(values)))
    assert ear.predicted + ear.saved + ear.failed == len(values)


Pair = collections.namedtuple("Pair", ["a", "b"])
SAME = [
    lambda: "text",
    lambda: b"bytes",
    lambda: float("nan"),
    lambda: np.arange(6.0).reshape(2, 3),
    lambda: np.arange(12).reshape(3, 4)[:, 1:3],
    lambda: np.float32(2.5),
    lambda: np.array([("a", 1)], dtype=[("name", "U3"), ("n", int)]),
    lambda: {"a": "one" + " text", "b": [1, (2.0, None)]},
    lambda: Pair(1, np.zeros(2)),
    lambda: scipy.sparse.csr_array(np.eye(2)),
    lambda: pd.DataFrame({"a": [1], "b": ["x"]}),
    lambda: {1, 2},
]
DIFFERENT = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    ("a", b"a"),
    ([1], (1,)),
    ((1, 2), Pair(1, 2)),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (np.zeros(2), np.zeros((2, 1))),
    (np.zeros(2), np.zeros(2, np.float32)),
    (np.zeros(2), [0.0, 0.0]),
    (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [1, 0])),
    (np.array([None]), np.array([1], object)),
    (lambda: 1, lambda: 1),
]


@pytest.mark.parametrize("make", SAME, ids=range(len(SAME)))
def test_values_that_are_equal(make):
    found = distinct(RowBatch([make(), object(), make()]), None)
    assert found.codes.tolist() == [0, 1, 0]
    assert found.firsts.tolist() == [0, 1]


@pytest.mark.parametrize("pair", DIFFERENT, ids=range(len(DIFFERENT)))
def test_values_that_a_model_may_tell_apart(pair):
    assert distinct(RowBatch(pair), None) is None


COLUMNS = {
    "numbers": ([1, 2, 1, 1], pa.int8(), [0, 1, 0, 0]),
    "nan": ([math.nan, 1.0, math.nan, 1.0], pa.float32(), [0, 1, 0, 1]),
    "zeros": ([0.0, -0.0, 0.0, 1.0], pa.float64(), [0, 1, 0, 2]),
    "nulls": ([None, 0, None, 0], pa.int64(), [0, 1, 0, 1]),
    "booleans": ([None, False, True, False], pa.bool_(), [0, 1, 2, 1]),
    "texts": (["a", None, "", "a"], pa.string(), [0, 1, 2, 0]),
    "times": ([5, None, 5, 7], pa.timestamp("us", "UTC"), [0, 1, 0, 2]),
    "vectors": ([[1, 2], [2, 1], [1, 2], [1, 1]], pa.list_(pa.float32(), 2), [0, 1, 0, 2]),
    "lists": ([[1, 2], [2, 1], [1, 2], [1, 1]], pa.list_(pa.float32()), [0, 1, 0, 2]),
    "categories": (["a", "b", None, "a"], pa.dictionary(pa.int32(), pa.string()), [0, 1, 2, 0]),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("chunks", [1, 2])
def test_columns_of_a_table(name, chunks):
    values, kind, codes = COLUMNS[name]
    parts = np.array_split(np.arange(4), chunks)
    arrays = [pa.array([values[i] for i in part], kind) for part in parts]
    table = pa.table({"x": pa.chunked_array(arrays, kind), "id": range(4)})
    found = distinct(TableBatch(table, features=("x",)), loaded(Log()))
    assert found.codes.tolist() == codes
    assert found.firsts.tolist() == [codes.index(code) for code in range(max(codes) + 1)]
    # what is not a feature makes rows different for nobody, what is one does
    assert distinct(TableBatch(table, features=("x", "id")), loaded(Log())) is None


def test_where_rows_cannot_be_compared_each_is_predicted():
    ragged = pa.table({"x": [[1.0], [1.0, 2.0], [1.0]]})
    assert distinct(TableBatch(ragged, features=("x",)), loaded(Log())) is None
    assert distinct(TableBatch(ragged, features=("y",)), loaded(Log())) is None


def test_in_a_pipeline(run):
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create([2, 1, 2, -1, 2, -1], reshuffle=False)
        batching = BatchConfig(deduplicate=True, min_size=6)
        results, dead = examples | RunInference(Log(), batching=batching).with_exception_handling()
        run.keep(results)
        run.keep(dead.failed_inferences, "dead")
    results = run.elements()
    assert [(r.example, r.inference) for r in results] == [(x, [math.log(x)]) for x in (2, 1, 2, 2)]
    assert [failure.example for failure in run.elements("dead")] == [-1, -1]
    # a prediction of its own, which nobody else sees when it is changed
    assert len({id(r.inference) for r in results}) == 4
    counted = {name: run.counter(f"num_{name}") for name in ("examples", "inferences", "failures")}
    assert counted == {"examples": 6, "inferences": 2, "failures": 2}
    assert run.counter("num_deduplicated") == 2


def test_models_per_key_do_not_share_predictions(run):
    class Times(ModelHandler):
        def __init__(self, factor):
            self.factor = factor

        def load_model(self):
            return self.factor

        def run_inference(self, batch, model, inference_args=None):
            return [x * model for x in batch]

    handler = KeyedModelHandler(
        [KeyModelMapping(["a"], Times(10)), KeyModelMapping(["b"], Times(100))]
    )
    pairs = [("a", 1), ("b", 1), ("a", 1), ("b", 2)]
    results = run.one(RunInference(handler, batching=DEDUPLICATE), pairs)
    assert sorted((key, r.inference) for key, r in results) == [
        ("a", 10),
        ("a", 10),
        ("b", 100),
        ("b", 200),
    ]


@pytest.mark.parametrize("process", [False, True])
def test_tables_in_a_pipeline(run, process):
    table = pa.table({"id": range(5), "a": [3.0, 1.0, 3.0, 2.0, 3.0]})
    transform = RunTableInference(
        Columns(), features=["a"], batching=DEDUPLICATE, execution=Execution(process=process)
    )
    [scored] = run.one(transform, [table])
    assert scored.column("id").to_pylist() == list(range(5))
    assert scored.column("prediction").to_pylist() == np.log([3, 1, 3, 2, 3]).tolist()
    assert (run.counter("num_inferences"), run.counter("num_deduplicated")) == (3, 2)


def test_the_row_that_is_told_is_the_first_of_those_that_fail():
    table = pa.table({"a": [3.0, 3.0, 1.0, -1.0, -1.0]})
    model = loaded(Columns())
    policy = FailurePolicy(Exception, is_fatal=True)
    predict = functools.partial(
        solve,
        model=model,
        limits=Limits(BatchConfig()),
        inference_args=None,
        observers=Observers(),
        policy=policy,
    )
    with pytest.raises(FatalExampleError, match="domain") as caught:
        solve_distinct(predict, TableBatch(table), model, Observers())
    assert caught.value.position == 3


def test_anything_but_yes_or_no_is_refused():
    with pytest.raises(ConfigurationError, match=r"deduplicate='yes'.*True or False"):
        BatchConfig(deduplicate="yes")
