"""Rows with a schema in, the same rows with predictions out, each at its own time."""

import typing

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.transforms import window
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints import row_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runinference import (
    BatchConfig,
    KeyedModelHandler,
    ModelHandler,
    RunRowInference,
    VectorModelHandler,
)
from runinference.batch import TableBatch
from runinference.errors import ConfigurationError, FatalExampleError
from runinference.failures import Failed, Reason
from runinference.schema_rows import SchemaEdge
from runinference.worker import Part


class Sum(VectorModelHandler):
    """The sum of each row's features, which it knows by name where it is told."""

    def __init__(self, names=None, answer=lambda total: total):
        self.names = names
        self.answer = answer

    def load_model(self):
        return None

    def feature_names(self, model):
        return self.names

    def collate_table(self, table, model):
        return sum((i + 1) * column.to_numpy() for i, column in enumerate(table.columns))

    def predict(self, batch, model, inference_args):
        if (batch < 0).any():
            raise ValueError("below zero")
        return self.answer(batch)


class Texts(ModelHandler):
    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        return [{"label": text.upper(), "size": len(text)} for text in batch]


class Item(typing.NamedTuple):
    name: str
    a: float
    b: int


ROWS = [beam.Row(name=name, a=float(i), b=10 * i) for i, name in enumerate("xyz")]


def test_every_field_stays_and_the_prediction_stands_behind(run):
    assert run.one(RunRowInference(Sum()), ROWS) == [
        beam.Row(name="x", a=0.0, b=0, prediction=0.0),
        beam.Row(name="y", a=1.0, b=10, prediction=21.0),
        beam.Row(name="z", a=2.0, b=20, prediction=42.0),
    ]


def test_fields_that_stay_and_fields_that_the_model_sees(run):
    transform = RunRowInference(Sum(), features=["b", "a"], keep=["name"], output="score")
    assert run.one(transform, ROWS)[1:] == [
        beam.Row(name="y", score=12.0),
        beam.Row(name="z", score=24.0),
    ]
    # a field that stays is no feature, unless somebody says so
    assert run.one(RunRowInference(Sum(), keep=["b"]), ROWS)[2] == beam.Row(b=20, prediction=2.0)
    named = RunRowInference(Sum(["b"]), keep=["b"])
    assert run.one(named, ROWS)[2] == beam.Row(b=20, prediction=20)
    assert run.one(RunRowInference(Sum(), keep=[]), ROWS)[2] == beam.Row(prediction=42.0)


def test_named_tuples_texts_and_answers_of_several_values(run):
    with run.pipeline() as pipeline:
        items = pipeline | beam.Create([Item("ab", 1.0, 2)]).with_output_types(Item)
        results = items | RunRowInference(Texts(), features=["name"])
        run.keep(results)
    expected = {"label": "AB", "size": 2}
    assert run.elements() == [beam.Row(name="ab", a=1.0, b=2, prediction=expected)]
    fields = dict(results.element_type._fields)
    assert list(fields) == ["name", "a", "b", "prediction"]
    assert fields["prediction"] is typing.Any


def test_lists_and_fields_that_no_column_can_hold(run):
    class Norm(VectorModelHandler):
        def load_model(self):
            return None

        def collate(self, examples, model):
            return np.stack(examples)

        def predict(self, batch, model, inference_args):
            return batch * 2

    kind = row_type.RowTypeConstraint.from_fields(
        [("vector", typing.Sequence[float]), ("what", typing.Any)]
    )
    with run.pipeline() as pipeline:
        rows = [beam.Row(vector=[1.0, 2.0], what=object), beam.Row(vector=[3.0, 4.0], what=1)]
        created = pipeline | beam.Create(rows).with_output_types(kind)
        transform = RunRowInference(Norm(), features=["vector"], keep=["what"])
        run.keep(created | transform)
    assert [row.prediction for row in run.elements()] == [[2.0, 4.0], [6.0, 8.0]]
    # Any says nothing: its values do
    kind = row_type.RowTypeConstraint.from_fields([("a", typing.Any), ("what", typing.Any)])
    with run.pipeline() as pipeline:
        rows = [beam.Row(a=1, what=object), beam.Row(a=2, what="x")]
        run.keep(pipeline | beam.Create(rows).with_output_types(kind) | RunRowInference(Sum()))
    assert [row.prediction for row in run.elements()] == [1, 2]


def test_the_type_of_predictions_that_is_told_is_that_of_the_field(run):
    with run.pipeline() as pipeline:
        created = pipeline | beam.Create(ROWS)
        results = created | RunRowInference(Sum(), keep=[], output_type=str)
        run.keep(results)
        run.keep(created | "ints" >> RunRowInference(Sum(), keep=[], output_type=int), "ints")
    assert dict(results.element_type._fields) == {"prediction": str}
    assert [row.prediction for row in run.elements()] == ["0", "21", "42"]
    assert [row.prediction for row in run.elements("ints")] == [0, 21, 42]
    with pytest.raises(ConfigurationError, match=r"output_type=int64, but the model predicts doub"):
        run.one(RunRowInference(Sum(answer=lambda x: x + 0.5), output_type=int), ROWS)
    with pytest.raises(ConfigurationError, match=r"several values, prediction_label.*leave output"):
        run.one(RunRowInference(Texts(), features=["name"], output_type=str), ROWS)


def test_each_row_keeps_its_time_and_its_window(run):
    with run.pipeline() as pipeline:
        timed = (
            pipeline
            | beam.Create(ROWS, reshuffle=False)
            | beam.Map(lambda row: window.TimestampedValue(row, row.b + 1))
            | beam.WindowInto(window.FixedWindows(15))
        )
        timed = timed | beam.Map(lambda row: row).with_output_types(
            row_type.RowTypeConstraint.from_fields([("name", str), ("a", float), ("b", int)])
        )
        run.keep(timed | RunRowInference(Sum(), keep=["name"]))
    found = {
        row.name: (time, end.end)
        for row, time, end in zip(run.elements(), run.timestamps(), run.windows(), strict=True)
    }
    assert found == {"x": (1, 15), "y": (11, 15), "z": (21, 30)}


def test_rows_that_fail_leave_as_dead_letters(run):
    rows = [*ROWS, beam.Row(name="bad", a=-9.0, b=0)]
    with run.pipeline() as pipeline:
        transform = RunRowInference(Sum(), keep=["name"]).with_exception_handling()
        results, dead = pipeline | beam.Create(rows, reshuffle=False) | transform
        run.keep(results)
        run.keep(dead.failed_inferences, "dead")
    assert [row.name for row in run.elements()] == ["x", "y", "z"]
    [failure] = run.elements("dead")
    assert failure.example.name == "bad"
    assert (failure.type, failure.message) == ("ValueError", "below zero")
    assert run.counter("num_failures") == 1


def test_without_dead_letters_the_row_is_named(run):
    rows = [*ROWS, beam.Row(name="bad", a=-9.0, b=0)]
    with pytest.raises(FatalExampleError, match=r"name='bad', a=-9.0, b=0\): ValueError: below"):
        run.one(RunRowInference(Sum()), rows)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(st.integers(-3, 9), min_size=1, max_size=30), data=st.data())
def test_the_edge_gives_each_row_its_own(values, data):
    """Whatever parts a batch was predicted in, and whatever failed."""
    times = [GlobalWindows.windowed_value(None, timestamp=i) for i in range(len(values))]
    element = [
        time.with_value(beam.Row(a=v, at=i))
        for i, (v, time) in enumerate(zip(values, times, strict=True))
    ]
    edge = SchemaEdge({"a": pa.int64(), "at": None}, ("a",), ("at", "a"), (), "p", None)
    batch, _ = edge.open(element)
    assert isinstance(batch, TableBatch)
    assert batch.table.column("a").to_pylist() == values
    order = data.draw(st.permutations(range(len(values))))
    cut = data.draw(st.integers(0, len(values)))
    failed = [p for p in range(len(values)) if values[p] < 0]
    parts = []
    for some in (order[:cut], order[cut:]):
        good = [position for position in some if position not in failed]
        if good:
            columns = pa.table({"p": [values[position] * 2 for position in good]})
            parts.append(Part(good, columns, None))
    failures = [Failed([p], Reason("E", "no", ""), None) for p in failed]
    emitted = list(edge.emit(element, batch, None, parts, failures))
    dead = [one.value.value for one in emitted if hasattr(one, "tag")]
    results = [one for one in emitted if not hasattr(one, "tag")]
    assert [failure.example.at for failure in dead] == failed
    assert [one.value.at for one in results] == [p for p in range(len(values)) if values[p] >= 0]
    for one in results:
        assert one.value.p == one.value.a * 2
        assert one.timestamp == one.value.at


REFUSED = [
    ({"features": ["aa"]}, r"features names 'aa', which the rows do not.*mean 'a'\? they have"),
    ({"keep": ["nam"]}, r"keep names 'nam', which the rows do not have; did you mean 'name'"),
    ({"output": "a"}, r"a field 'a' already: choose another output="),
    ({"features": "a"}, r"features='a' is a string: write features=\['a'\]"),
    ({"batching": BatchConfig(max_weight=1, weight_fn=len)}, r"max_weight=...\) has no effect"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_cannot_work_is_refused_where_the_pipeline_is_built(options, message):
    rows = beam.Pipeline() | beam.Create(ROWS)
    with pytest.raises(ConfigurationError, match=message):
        rows | RunRowInference(Sum(), **options)


def test_elements_without_a_schema_and_handlers_around_them_are_refused():
    with pytest.raises(
        ConfigurationError, match=r"rows with a schema.*the elements are <class 'in"
    ):
        beam.Pipeline() | beam.Create([1, 2]) | RunRowInference(Sum())
    with pytest.raises(ConfigurationError, match="pass the inner handler"):
        RunRowInference(KeyedModelHandler(Sum()))
    with pytest.raises(ConfigurationError, match="RunRowInference calls no preprocess"):
        RunRowInference(Sum().with_preprocess_fn(str))
