"""Rows that fail: told with file and row, or put aside with the reason."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from runinference_cli import splits

REFUSES = """
import numpy as np
from runinference import VectorModelHandler
from runinference.columns import matrix


class Refuses(VectorModelHandler):
    '''Doubles the numbers of a column; a negative one fails the call.'''

    def load_model(self):
        return "double"

    def collate_table(self, table, model):
        return matrix(table)[:, 0]

    def predict(self, batch, model, inference_args):
        if (batch < 0).any():
            raise ValueError(f"no roots of {batch[batch < 0][0]:g}")
        return np.sqrt(batch)
"""
COUNT = 1000
BAD = (0, 17, 500, 501, 999)


@pytest.fixture
def refuses(plugin, folder):
    """The name of a handler that fails calls with negative numbers, and files with a few."""
    (plugin / "acme_refuses.py").write_text(REFUSES)
    entries = next(plugin.glob("*.dist-info")) / "entry_points.txt"
    if "refuses" not in entries.read_text():
        entries.write_text(entries.read_text().rstrip() + "\nrefuses = acme_refuses:Refuses\n")
    values = [-4.0 if number in BAD else float(number) for number in range(COUNT)]
    table = pa.table({"id": range(COUNT), "x": values, "note": ["n"] * COUNT})
    pa.parquet.write_table(table, "rows.parquet", row_group_size=100)
    return {
        "handler": "refuses",
        "handler.model_uri": None,
        "input": "rows.parquet",
        "features": "x",
    }


def failed():
    [part] = Path("failed").glob("part-*")
    return pa.parquet.read_table(part)


def test_failed_rows_are_put_aside_with_the_reason(score, results, refuses):
    outcome = score(**refuses, failures="failed")
    assert outcome.status == 0, outcome.err
    assert [row["id"] for row in results()] == [n for n in range(COUNT) if n not in BAD]
    assert failed().column("id").to_pylist() == list(BAD)
    assert failed().column_names == [
        *("id", "x", "note"),
        *("failure_stage", "failure_type", "failure_message"),
    ]
    assert failed().schema.metadata is None
    assert set(failed().column("failure_message").to_pylist()) == {"no roots of -4"}
    assert "scored 995 rows" in outcome.out
    assert "5 rows failed, in failed" in outcome.out
    assert "5 rows: ValueError: no roots of -4" in outcome.out
    assert Path("failed/_SUCCESS").exists()
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []


def test_several_parts_and_few_columns_to_keep(score, results, refuses, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_ROWS", 100)
    outcome = score(**refuses, keep="id", failures="failed")
    assert outcome.status == 0, outcome.err
    parts = sorted(Path("failed").glob("part-*"))
    rows = [row for part in parts for row in pa.parquet.read_table(part).to_pylist()]
    assert [row["id"] for row in rows] == list(BAD)
    assert {row["note"] for row in rows} == {"n"}
    assert len(results()) == COUNT - len(BAD)


def test_two_processes(score, results, refuses, plugin, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    monkeypatch.setattr(splits, "MAX_SPLIT_ROWS", 100)
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    outcome = score("--", *two, **refuses, failures="failed")
    assert outcome.status == 0, outcome.err
    assert len(results()) == COUNT - len(BAD)
    assert "5 rows failed, in failed" in outcome.out


def test_without_a_folder_for_them_the_first_one_fails_the_run(score, refuses):
    outcome = score(**refuses)
    assert outcome.status == 1
    assert "the model failed on rows.parquet, row 1: ValueError: no roots of -4" in outcome.err
    assert "--failures FOLDER" in outcome.err
    assert not Path("out").exists()


def test_a_folder_without_failures_has_an_empty_file(score, refuses):
    table = pa.table({"id": [1], "x": [4.0]})
    pa.parquet.write_table(table, "rows.parquet")
    outcome = score(**refuses, failures="failed")
    assert outcome.status == 0, outcome.err
    assert "0 rows failed" in outcome.out
    assert failed().num_rows == 0
    assert failed().schema.names == ["id", "x", "failure_stage", "failure_type", "failure_message"]


def test_failed_rows_can_be_scored_again(score, refuses):
    assert score(**refuses, failures="failed").status == 0
    again = {**refuses, "input": "failed", "output": "again"}
    outcome = score(**again, failures="failed again")
    assert outcome.status == 1
    assert "every one of the 5 examples failed" in outcome.err
    assert not Path("failed again").exists()
    assert not Path("again").exists()


def test_the_threshold(score, refuses):
    outcome = score(**refuses, failures="failed", failure_threshold="0.004")
    assert outcome.status == 1
    assert "5 of 1,000 examples failed (0.5%), more than the threshold of 0.4%" in outcome.err
    assert not Path("failed").exists()
    assert score(**refuses, failures="failed", failure_threshold="0.005").status == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failure_threshold": "0.5"}, "--failure-threshold needs --failures FOLDER"),
        ({"failures": "failed", "failure_threshold": "2"}, "a share is needed, from 0 to 1"),
        ({"failures": "out"}, "it has to be another folder than --output out"),
        ({"failures": "out/failed"}, "none inside the other"),
        ({"failures": "rows.parquet"}, "--failures rows.parquet: this is a file"),
    ],
)
def test_options_that_cannot_be(score, refuses, options, message):
    outcome = score(**refuses, **options)
    assert outcome.status == 2
    assert message in outcome.err


def test_predictions_that_are_not_finite(score, results, refuses):
    table = pa.table({"id": [1, 2], "x": [4.0, float("inf")]})
    pa.parquet.write_table(table, "rows.parquet")
    options = {**refuses, "execution.on_nonfinite": "fail"}
    outcome = score(**options)
    assert outcome.status == 1
    assert "rows.parquet, row 2: refuses predicted a number that is not finite" in outcome.err
    assert score(**options, failures="failed").status == 0
    assert [row["id"] for row in results()] == [1]
