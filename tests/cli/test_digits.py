"""The example that ``make demo`` runs, and the errors of real models."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

EXAMPLES = Path(__file__).parents[2] / "docs/examples/digits"


def example(name, folder):
    command = [sys.executable, EXAMPLES / name, folder]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    out = example("make_digits.py", folder)
    assert "Wrote 450 digits" in out
    return folder


@pytest.fixture
def score_digits(cli, digits):
    def score(*arguments, model="model.skops", handler="sklearn-numpy"):
        model_uri = ["--handler.model_uri", digits / model]
        files = ["--input", f"{digits}/digits/*.parquet", "--output", "out", "--overwrite"]
        return cli("score", "--handler", handler, *model_uri, *files, *arguments)

    return score


@pytest.mark.parametrize("handler", ["sklearn-numpy", "sklearn-pandas"])
def test_digits_are_recognised(score_digits, digits, handler):
    outcome = score_digits("--keep", "label", handler=handler)
    assert (outcome.status, outcome.err) == (0, "")
    assert "scored 450 rows" in outcome.out
    assert f"model {digits}/model.skops@" in outcome.out
    table = pyarrow.parquet.read_table("out")
    assert table.column_names == ["label", "prediction"]
    shown = example("show_results.py", "out")
    [accuracy] = re.findall(r"an accuracy of ([\d.]+)%", shown)
    assert float(accuracy) > 95
    right = sum(row["label"] == row["prediction"] for row in table.to_pylist())
    assert f"{right} of 450 are right" in shown
    assert f"```text\n{shown}```\n" in (EXAMPLES / "README.md").read_text()


def test_probabilities_are_one_column_of_lists(score_digits):
    assert score_digits("--handler.method", "predict_proba", "--keep", "label").status == 0
    column = pyarrow.parquet.read_table("out")["prediction"]
    assert column.type.list_size == 10
    assert all(abs(sum(row) - 1) < 1e-9 for row in column.to_pylist())


def test_the_models_own_features_are_found_in_any_order(score_digits, digits, cli):
    assert score_digits("--keep", "label").status == 0
    expected = pyarrow.parquet.read_table("out")
    table = pyarrow.parquet.read_table(digits / "digits")
    pyarrow.parquet.write_table(table.select(table.column_names[::-1]), "reversed.parquet")
    assert score_digits("--keep", "label", "--input", "reversed.parquet").status == 0
    again = pyarrow.parquet.read_table("out")
    assert again["prediction"].to_pylist()[450:] == expected["prediction"].to_pylist()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda data: data[: len(data) // 2], ["cannot be loaded", "damaged zip archive"]),
        (lambda data: b"", ["is empty: save or copy the model again"]),
        (lambda data: b"<!DOCTYPE html><html>", ["found an HTML page"]),
        (lambda data: pickle.dumps({"a": 1}), ["expected a model with predict(), found a dict"]),
        (lambda data: pickle.dumps(os.system), ["system"]),
        (lambda data: b"PAR1" + data, ["found a Parquet file"]),
    ],
)
def test_model_files_that_are_wrong(score_digits, digits, make, parts):
    (digits / "wrong").write_bytes(make((digits / "model.skops").read_bytes()))
    outcome = score_digits(model="wrong")
    assert outcome.status == 1
    assert f"model file '{digits}/wrong'" in outcome.err
    for part in parts:
        assert part in outcome.err
    assert not Path("out").exists()


def test_columns_that_do_not_fit_the_model(score_digits):
    outcome = score_digits("--features", "pixel_0_0,pixel_0_1")
    assert outcome.status == 1
    assert "2 features" in outcome.err
    assert "64" in outcome.err
    outcome = score_digits("--handler.method", "transform")
    assert outcome.status == 1
    assert "expected a model with transform(), found a Pipeline" in outcome.err
