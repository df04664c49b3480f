"""RunTableInference on the embedded runner, from tables to tables."""

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from apache_beam.transforms import window

from runinference import (
    BatchConfig,
    ExampleFailed,
    KeyedModelHandler,
    ModelHandler,
    RunTableInference,
    VectorModelHandler,
)
from runinference.coders import TableCoder
from runinference.columns import matrix
from runinference.errors import ConfigurationError

calls = []


class Sum(VectorModelHandler):
    """Sums the features, with a row's first one a hundredfold."""

    def __init__(self, names=None, answer="scalar"):
        self.names = names
        self.answer = answer

    def load_model(self):
        return np.array([100.0])

    def feature_names(self, model):
        return self.names

    def collate_table(self, table, model):
        calls.append(table.num_rows)
        return matrix(table)

    def predict(self, batch, model, inference_args):
        total = batch[:, 0] * model[0] + batch[:, 1:].sum(axis=1)
        if self.answer == "scalar":
            return total
        return {"total": total, "twice": np.stack([total, 2 * total], axis=1)}


class RowsOnly(ModelHandler):
    """Knows single examples only."""

    def load_model(self):
        return None

    def run_inference(self, batch, model, inference_args=None):
        return [str(example) for example in batch]


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()


def table(rows=3):
    return pa.table(
        {
            "id": [f"r{i}" for i in range(rows)],
            "x": np.arange(rows, dtype=np.float32),
            "y": np.arange(rows, dtype=np.int16) * 10,
        }
    )


def test_predictions_stand_behind_the_columns(run):
    [scored] = run.one(RunTableInference(Sum()), [table()])
    assert scored.column_names == ["id", "x", "y", "prediction"]
    assert scored.column("prediction").to_pylist() == [0.0, 110.0, 220.0]
    assert scored.select(["id", "x", "y"]) == table()


def test_features_are_taken_in_their_order(run):
    [scored] = run.one(RunTableInference(Sum(), features=["y", "x"], output="p"), [table()])
    assert scored.column("p").to_pylist() == [0.0, 1001.0, 2002.0]


def test_the_models_own_features_come_first(run):
    [scored] = run.one(RunTableInference(Sum(names=["y"])), [table()])
    assert scored.column("prediction").to_pylist() == [0.0, 1000.0, 2000.0]


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch, pd.DataFrame])
def test_the_predictions_alone(run, kind):
    made = {pa.Table: table(), pa.RecordBatch: table().to_batches()[0]}.get(
        kind, table().to_pandas()
    )
    [scored] = run.one(RunTableInference(Sum(), keep=[]), [made])
    assert isinstance(scored, kind)
    frame = scored if kind is pd.DataFrame else scored.to_pandas()
    [whole] = run.one(RunTableInference(Sum()), [made])
    whole = whole if kind is pd.DataFrame else whole.to_pandas()
    assert list(frame.columns) == ["prediction"]
    assert frame["prediction"].tolist() == whole["prediction"].tolist()


def test_kept_columns_are_no_features(run):
    [scored] = run.one(RunTableInference(Sum(), keep=["y"]), [table()])
    assert scored.column_names == ["y", "prediction"]
    assert scored.column("prediction").to_pylist() == [0.0, 100.0, 200.0]


def test_several_outputs_are_several_columns(run):
    [scored] = run.one(RunTableInference(Sum(answer="dict")), [table()])
    assert scored.column_names[3:] == ["prediction_total", "prediction_twice"]
    assert scored.schema.field("prediction_twice").type == pa.list_(pa.float64(), 2)


def test_large_tables_are_cut_and_put_together(run):
    [scored] = run.one(RunTableInference(Sum(), batching=BatchConfig(max_size=40)), [table(100)])
    assert calls == [40, 40, 20]
    assert scored.column("prediction").to_pylist() == [110.0 * i for i in range(100)]


def test_a_table_without_rows_stays_one(run):
    [scored] = run.one(RunTableInference(Sum()), [table(0)])
    assert scored.num_rows == 0
    assert scored.column_names == ["id", "x", "y", "prediction"]


def test_handlers_of_single_examples_take_tables(run):
    [one] = run.one(RunTableInference(RowsOnly(), features=["id"]), [table()])
    assert one.column("prediction").to_pylist() == ["r0", "r1", "r2"]
    [several] = run.one(RunTableInference(RowsOnly(), features=["id", "y"]), [table(1)])
    assert several.column("prediction").to_pylist() == ["{'id': 'r0', 'y': 0}"]


def test_time_and_windows_stay(run):
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create([window.TimestampedValue(table(), 5)])
            | beam.WindowInto(window.SlidingWindows(4, 2))
            | RunTableInference(Sum())
        )
    assert run.timestamps() == [5, 5]
    assert len(set(map(str, run.windows()))) == 2


def test_small_tables_are_predicted_together_and_leave_apart(run):
    tables = [window.TimestampedValue(table(3).slice(0, rows), rows) for rows in (1, 2, 0, 3)]
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create([tables], reshuffle=False)  # one element: one bundle
            | beam.FlatMap(iter)
            | RunTableInference(Sum())
        )
    assert calls == [6]
    assert [scored.num_rows for scored in run.elements()] == [1, 2, 0, 3]
    assert run.timestamps() == [1, 2, 0, 3]
    expected = [[110.0 * row for row in rows] for rows in ([0], [0, 1], [], [0, 1, 2])]
    sums = [
        [100.0 * x + y for x, y in zip(t["x"].to_pylist(), t["y"].to_pylist(), strict=True)]
        for t in run.elements()
    ]
    assert [scored.column("prediction").to_pylist() for scored in run.elements()] == sums
    assert sums == expected


def test_tables_of_different_windows_or_schemas_are_not_mixed(run):
    tables = [
        window.TimestampedValue(table(1), 1),
        window.TimestampedValue(table(1).append_column("z", [[1.0]]), 1),
        window.TimestampedValue(table(1), 5),
    ]
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create(tables, reshuffle=False)
            | beam.WindowInto(window.FixedWindows(4))
            | RunTableInference(Sum(), features=["x", "y"])
        )
    assert calls == [1, 1, 1]
    assert sorted(scored.num_columns for scored in run.elements()) == [4, 4, 5]


def test_record_batches_leave_as_record_batches(run):
    [batch] = table(4).to_batches()
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create([batch])
            | beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)
            | RunTableInference(Sum(), features=["x", "y"], keep=["id"])
            | beam.Reshuffle()
        )
    [scored] = run.elements()
    assert isinstance(scored, pa.RecordBatch)
    assert scored.schema.names == ["id", "prediction"]
    assert scored.column(1).to_pylist() == [0.0, 110.0, 220.0, 330.0]


def test_frames_leave_as_frames(run):
    frame = table(3).to_pandas().set_index(pd.Index([7, 8, 9], name="row"))
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create([frame, frame])
            | RunTableInference(Sum(answer="dict"))
            | beam.Reshuffle()
        )
    for scored in run.elements():
        pd.testing.assert_frame_equal(scored[["id", "x", "y"]], frame)
        assert scored["prediction_total"].tolist() == [0.0, 110.0, 220.0]
        assert scored["prediction_twice"].iloc[1].tolist() == [110.0, 220.0]
    assert list(frame.columns) == ["id", "x", "y"]


def test_tables_cross_a_shuffle(run):
    with run.pipeline() as pipeline:
        run.keep(
            pipeline
            | beam.Create([table(2), table(3)])
            | RunTableInference(Sum())
            | beam.Reshuffle()
            | beam.Map(lambda scored: scored.column("prediction").to_pylist())
        )
    assert sorted(run.elements()) == [[0.0, 110.0], [0.0, 110.0, 220.0]]


def test_the_coder_gives_back_what_it_took():
    coder = TableCoder()
    odd = table(10).slice(3, 4).append_column("d", pa.array(list("abca")).dictionary_encode())
    assert coder.decode(coder.encode(odd)) == odd
    assert coder.estimate_size(odd) == odd.nbytes


class Doubtful(RowsOnly):
    def run_inference(self, batch, model, inference_args=None):
        return [ExampleFailed(ValueError("odd")) for example in batch]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RunTableInference(Sum(), features=["X"]), "no column 'X'; did you mean 'x'"),
        (lambda: RunTableInference(Sum(), features=["id"]), "'id' is of type string, not numeric"),
        (lambda: RunTableInference(Sum(), features=["n"]), "'n' has 1 nulls in 2 rows"),
        (lambda: RunTableInference(Sum(), features=["x"], output="x"), "has a column 'x' already"),
        (lambda: RunTableInference(Sum(), keep=["z"]), "keep names 'z', but the table has"),
        (lambda: RunTableInference(Sum(), keep=["x", "n"]), "no numeric column for the model"),
        (
            lambda: RunTableInference(Doubtful(), features=["x"]),
            "row 0 of a table of 2 rows: ValueError: odd",
        ),
    ],
)
def test_mistakes_are_named_when_a_table_comes(run, make, message):
    odd = pa.table({"id": ["a", "b"], "x": [1.0, 2.0], "n": pa.array([1, None])})
    with pytest.raises(Exception, match=message):
        run.one(make(), [odd])


def test_other_elements_are_named(run):
    with pytest.raises(Exception, match=r"takes pyarrow.Table, .*elements, but one is dict"):
        run.one(RunTableInference(Sum()), [{"x": 1}])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RunTableInference(Sum(), features="x"), r"write features=\['x'\]"),
        (lambda: RunTableInference(KeyedModelHandler(Sum())), "need no key for one model"),
        (lambda: RunTableInference(Sum().with_preprocess_fn(str)), "map the elements"),
        (
            lambda: RunTableInference(Sum(), batching=BatchConfig(max_wait_s=1)),
            r"BatchConfig\(max_wait_s=\.\.\.\) has no effect on tables",
        ),
    ],
)
def test_mistakes_are_named_when_the_pipeline_is_built(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
