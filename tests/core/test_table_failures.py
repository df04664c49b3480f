"""Rows that fail leave as a table of their own, with their reasons; the others are scored."""

import json
import math

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from runinference import (
    ExampleFailed,
    Execution,
    ModelHandler,
    RunTableInference,
    VectorModelHandler,
)
from runinference.table_edge import FAILURE_COLUMNS, SOURCE


class Logarithm(VectorModelHandler):
    """The logarithm of the first column; a negative number fails the whole call."""

    def load_model(self):
        self.calls = 0
        return "log"

    def collate_table(self, table, model):
        return table.column(0).to_numpy()

    def predict(self, batch, model, inference_args):
        if (batch < 0).any():
            raise ValueError("math domain error")
        with np.errstate(divide="ignore"):
            return np.log(batch)


class Rows(ModelHandler):
    """The same, row by row, with the row marked."""

    def load_model(self):
        return "log"

    def run_inference(self, batch, model, inference_args=None):
        return [math.log(x) if x > 0 else ExampleFailed(ValueError("domain")) for x in batch]


class MarksInPredict(Logarithm):
    def predict(self, batch, model, inference_args):
        return [math.log(x) if x > 0 else ExampleFailed(ValueError("domain")) for x in batch]


def table(*values, **columns):
    return pa.table({"x": pa.array(values, pa.float64()), "id": range(len(values)), **columns})


def apply(run, handler, tables, execution=None, **options):
    with run.pipeline() as pipeline:
        transform = RunTableInference(handler, features=["x"], execution=execution)
        created = pipeline | beam.Create(tables, reshuffle=False)
        scored, dead = created | transform.with_exception_handling(**options)
        run.keep(scored)
        run.keep(dead.failed_inferences, "failed")
    return run.elements(), run.elements("failed")


@pytest.mark.parametrize("handler", [Logarithm(), Rows(), MarksInPredict()])
def test_failed_rows_leave_with_their_reason(run, handler):
    values = [1.0, -1.0, math.e, 1.0, -2.0]
    [scored], [failed] = apply(run, handler, [table(*values)])
    assert scored.column("id").to_pylist() == [0, 2, 3]
    assert scored.column("prediction").to_pylist() == [0.0, 1.0, 0.0]
    assert failed.column_names == ["x", "id", *FAILURE_COLUMNS]
    assert failed.column("id").to_pylist() == [1, 4]
    assert failed.column("failure_stage").to_pylist() == ["inference"] * 2
    assert failed.column("failure_type").to_pylist() == ["ValueError"] * 2
    assert "domain" in failed.column("failure_message")[0].as_py()
    assert run.counter("num_examples") == 5
    assert run.counter("num_inferences") == 3
    assert run.counter("num_failures") == 2


def test_each_gathered_table_has_its_own_dead_letters(run):
    tables = [table(1.0, -1.0), table(1.0), table(-1.0), table(-1.0, 1.0)]
    scored, failed = apply(run, Logarithm(), tables)
    assert [one.column("id").to_pylist() for one in scored] == [[0], [0], [1]]
    assert [one.column("id").to_pylist() for one in failed] == [[1], [0], [0]]


def test_frames_and_record_batches_stay_what_they_are(run):
    frame = pd.DataFrame({"x": [1.0, -1.0], "id": ["a", "b"]}, index=[7, 8])
    [scored], [failed] = apply(run, Logarithm(), [frame])
    assert (list(scored.index), list(scored["id"])) == ([7], ["a"])
    assert (list(failed.index), list(failed["failure_type"])) == ([8], ["ValueError"])
    assert "failure_type" not in frame
    batch = pa.RecordBatch.from_pydict({"x": [1.0, -1.0]})
    [scored], [failed] = apply(run, Logarithm(), [batch])
    assert isinstance(scored, pa.RecordBatch)
    assert isinstance(failed, pa.RecordBatch)
    assert failed.column("x").to_pylist() == [-1.0]


def test_rows_with_nulls_fail_in_one_further_call(run):
    values = [1.0, None, math.e, None]
    [scored], [failed] = apply(run, Logarithm(), [table(*values)])
    assert scored.column("prediction").to_pylist() == [0.0, 1.0]
    assert failed.column("id").to_pylist() == [1, 3]
    assert (
        failed.column("failure_message")[0].as_py().startswith("column 'x' has 2 nulls in 4 rows")
    )
    assert run.counter("failed_batches_counter") == 1


def test_a_table_without_the_column_fails_whole_without_a_search(run):
    with pytest.raises(Exception, match="every one of the 100 examples failed"):
        apply(run, Logarithm(), [pa.table({"y": range(100)})])
    [failed] = run.elements("failed")
    assert len(failed) == 100
    assert run.elements() == []


def test_failed_rows_can_be_scored_again(run):
    [_], [failed] = apply(run, Logarithm(), [table(1.0, -1.0)])
    mended = failed.set_column(0, "x", pa.array([1.0]))
    [scored], [] = apply(run, Logarithm(), [mended])
    assert scored.column("prediction").to_pylist() == [0.0]
    [_], [again] = apply(run, Logarithm(), [pa.concat_tables([failed, mended])])
    assert again.column_names == failed.column_names


def test_rows_that_are_not_finite(run):
    execution = Execution(on_nonfinite="fail")
    [scored], [failed] = apply(run, Logarithm(), [table(1.0, 0.0, 1.0)], execution)
    assert scored.column("id").to_pylist() == [0, 2]
    assert failed.column("failure_type").to_pylist() == ["runinference.errors.NonFiniteError"]
    assert run.counter("num_nonfinite") == 1


@pytest.mark.parametrize("bad", [0, 4999, 9999])
def test_without_dead_letters_the_row_is_told(run, bad):
    values = [1.0] * 10_000
    values[bad] = -1.0
    transform = RunTableInference(Logarithm(), features=["x"])
    with pytest.raises(Exception, match=f"row {bad} of a table of 10000 rows: ValueError: math"):
        run.one(transform, [table(*values)])


def test_a_table_that_knows_where_it_comes_from_tells_it(run):
    metadata = {SOURCE: json.dumps(["scores.csv", 4000])}
    tables = [table(1.0, 1.0), table(1.0, -1.0)]
    tables = [one.replace_schema_metadata(metadata) for one in tables]
    with pytest.raises(Exception, match=r"scores\.csv, row 4001: ValueError: math domain error"):
        run.one(RunTableInference(Logarithm(), features=["x"]), tables)
