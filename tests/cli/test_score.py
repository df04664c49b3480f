"""Files in, the same rows with predictions out."""

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

ROWS = [(1.0, 1, "x"), (2.0, 2, "y"), (3.0, 3, "z"), (4.0, 4, "x"), (5.0, 5, "y")]
SCORED = [{"a": a, "b": b, "name": name, "prediction": a + 10 * b} for a, b, name in ROWS]


def _damage(path, *columns):
    """Overwrite the pages of columns, so that who reads them fails."""
    group = pa.parquet.ParquetFile(path).metadata.row_group(0)
    content = bytearray(Path(path).read_bytes())
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema in columns:
            start = column.dictionary_page_offset or column.data_page_offset
            content[start : start + column.total_compressed_size] = (
                b"\xff" * column.total_compressed_size
            )
    Path(path).write_bytes(content)


def names(output="out"):
    return sorted(path.name for path in Path(output).iterdir())


def test_every_row_is_scored_in_its_order_and_the_summary_says_so(score, results, folder):
    outcome = score()
    assert outcome.status == 0
    assert outcome.err == ""
    assert results() == SCORED
    assert names() == ["_SUCCESS", "part-00000-of-00002.parquet", "part-00001-of-00002.parquet"]
    first, batches, model, digest, files = outcome.out.splitlines()
    assert first.startswith("scored 5 rows in ")
    assert " rows/s)" in first
    assert batches == "1 batch of 5 rows on average"
    sha256 = hashlib.sha256(Path("model.json").read_bytes()).hexdigest()
    assert model == f"model model.json@{sha256[:12]}"
    assert digest == f"sha256 {sha256}"
    assert files == "2 files in out"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_quiet_says_nothing(score):
    assert score("--quiet") == (0, "", "")


def test_columns_that_stay_and_columns_that_the_model_sees(score, results):
    # b is a feature though it does not stay, a is none: one file is read with two of its columns
    outcome = score(**{"features": "b,a", "keep": "name", "output-column": "score"})
    assert outcome.status == 0
    assert results() == [{"name": name, "score": b + 10 * a} for a, b, name in ROWS]
    assert score("--overwrite", features=["b", "a"], keep="").status == 0
    assert results() == [{"prediction": b + 10 * a} for a, b, name in ROWS]


def test_without_features_a_model_that_names_none_sees_the_numeric_columns_not_kept(
    score, results, write
):
    write("one.parquet", id=[7, 8], a=[1.0, 2.0], b=[1, 2], text=["x", "y"])
    assert score(input="one.parquet", keep="id,text").status == 0
    assert [row["prediction"] for row in results()] == [11.0, 22.0]


@pytest.mark.parametrize("process", ["false", "true"])
def test_columns_that_nobody_needs_are_not_read(score, results, write, process):
    write("one.parquet", a=[1.0, 2.0], b=[1, 2], id=[7, 8], wide=["x", "y"], c=[0.5, 0.5])
    _damage("one.parquet", "wide", "c")
    model = {"handler": "named", "handler.model_uri": "model.json", "input": "one.parquet"}
    place = {"execution.process": process}
    assert score(**model, **place, keep="id").status == 0
    assert results() == [{"id": 7, "prediction": 11.0}, {"id": 8, "prediction": 22.0}]
    assert Path("loads").read_text() == "once "
    # without names the model sees every number, and c is one
    outcome = score("--overwrite", input="one.parquet", keep="id")
    assert outcome.status == 1
    assert "one.parquet" in outcome.err


def test_equal_rows_are_predicted_once_where_that_is_asked_for(score, results, write):
    write("same.parquet", a=[1.0, 2.0, 1.0, 1.0], b=[1, 2, 1, 1])
    outcome = score(input="same.parquet", **{"batching.deduplicate": "true"})
    assert [row["prediction"] for row in results()] == [11.0, 22.0, 11.0, 11.0]
    lines = outcome.out.splitlines()
    assert lines[1:3] == [
        "1 batch of 2 rows on average",
        "2 rows equal to others, not predicted again",
    ]


def test_a_column_that_the_model_names_and_the_file_lacks_is_told_with_those_there_are(
    score, write
):
    write("one.parquet", a=[1.0], bb=[1], id=[7], other=[0.5])
    model = {"handler": "named", "handler.model_uri": "model.json", "input": "one.parquet"}
    outcome = score(**model, keep="id")
    assert outcome.status == 1
    assert "the table has no column 'b'; did you mean 'bb'?" in outcome.err
    assert "'other'" in outcome.err


def test_results_of_a_run_can_be_the_input_of_the_next(score, results):
    assert score().status == 0
    again = {"input": "out", "output": "again", "features": "a,b", "output-column": "second"}
    assert score(**again).status == 0
    assert results("again") == [{**row, "second": row["prediction"]} for row in SCORED]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "csv.bz2", "jsonl", "jsonl.gz"])
def test_text_files_plain_and_compressed_give_what_parquet_gives(score, results, suffix):
    table = pa.parquet.read_table("in")
    text = pa.BufferOutputStream()
    if suffix.startswith("csv"):
        pa.csv.write_csv(table, text)
        content = text.getvalue().to_pybytes()
    else:
        content = "\n".join(json.dumps(row) for row in table.to_pylist()).encode()
    codec = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}.get(suffix.rpartition(".")[2])
    with pa.output_stream(f"rows.{suffix}", compression=codec) as file:
        file.write(content)
    assert score(**{"input": f"rows.{suffix}", "column-types": "{a: float64}"}).status == 0
    assert results() == SCORED


def test_a_format_that_the_suffix_does_not_tell(score, results):
    Path("rows.txt").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert "--input-format" in score(input="rows.txt").err
    Path("rows.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert score(**{"input": "rows.gz", "input-format": "csv"}).status == 0
    assert results() == [{"a": 1, "b": 2, "prediction": 21}]


@pytest.mark.parametrize("output_format", ["csv", "jsonl"])
def test_other_output_formats(score, results, output_format):
    assert score(output_format=output_format).status == 0
    assert names() == ["_SUCCESS", *(f"part-0000{i}-of-00002.{output_format}" for i in (0, 1))]
    if output_format == "jsonl":
        assert results() == SCORED
    else:
        text = Path("out/part-00001-of-00002.csv").read_text()
        assert text == '"a","b","name","prediction"\n4,4,"x",44\n5,5,"y",55\n'


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("vector", {"prediction": [11.0, -11.0]}),
        ("parts", {"prediction_plus": 11.0, "prediction_minus": -11.0}),
        ("text", {"prediction": "n11"}),
    ],
)
def test_predictions_that_are_no_numbers(score, results, answer, first):
    assert score(**{"handler.answer": answer, "keep": ""}).status == 0
    assert results()[0] == first
    outcome = score("--overwrite", **{"handler.answer": answer, "output_format": "jsonl"})
    assert outcome.status == 0
    assert results()[0] == {"a": 1, "b": 1, "name": "x", **first}


def test_options_reach_the_handler_the_batches_and_the_call(score, results):
    options = {"handler.scale": 2, "batching.max_size": 2, "inference-args": "{offset: 100}"}
    outcome = score(**options)
    assert outcome.err == ""
    assert [row["prediction"] for row in results()] == [122, 144, 166, 188, 210]
    assert "3 batches of 2 rows" in outcome.out
    assert score("--overwrite", "--inference-args.offset", "7").status == 0
    assert results()[0]["prediction"] == 18


def test_a_configuration_file_and_options_that_come_before_it(score, cli, results):
    Path("job.yaml").write_text(
        """
        handler: {name: linear, model_uri: model.json, scale: 3}
        input: [in/a.parquet, in/b.parquet]
        output: out
        output-column: score
        features: [b, a]
        keep: name
        batching: {max_size: 2}
        inference_args: {offset: 1}
        """
    )
    outcome = cli("score", "--config", "job.yaml")
    assert (outcome.status, outcome.err) == (0, "")
    assert results()[:2] == [{"name": "x", "score": 34.0}, {"name": "y", "score": 67.0}]
    assert "3 batches" in outcome.out
    changed = ["--overwrite", "--input", "in/b.parquet", "--handler.scale", "1", "--keep", "a"]
    assert cli("score", "--config", "job.yaml", *changed).status == 0
    assert results() == [{"a": 4.0, "score": 45.0}, {"a": 5.0, "score": 56.0}]


def test_beams_own_options_go_behind_the_dashes(score, results):
    outcome = score("--", "--runner=FnApiRunner", "--direct_num_workers=2")
    assert (outcome.status, outcome.err) == (0, "")
    assert results() == SCORED


def test_files_without_rows_give_no_files(score, results, write):
    write(
        "in/0.parquet",
        a=pa.array([], "float64"),
        b=pa.array([], "int64"),
        name=pa.array([], "string"),
    )
    write(
        "in/z.parquet",
        a=pa.array([], "float64"),
        b=pa.array([], "int64"),
        name=pa.array([], "string"),
    )
    assert score().status == 0
    assert results() == SCORED
    assert len(names()) == 3


def test_no_rows_at_all_are_scored_too(score, results):
    Path("head.csv").write_text("a,b\n")
    outcome = score(input="head.csv")
    assert outcome.status == 0
    assert "scored 0 rows" in outcome.out
    assert names() == ["_SUCCESS", "part-00000-of-00001.parquet"]
    assert pa.parquet.read_table("out").column_names == ["a", "b", "prediction"]
    Path("empty.jsonl").write_text("")
    assert score("--overwrite", input="empty.jsonl").status == 0
    assert names() == ["_SUCCESS"]


def test_blocks_of_a_large_file_stay_in_order(score, write, monkeypatch):
    monkeypatch.setattr("runinference_cli.readers.MAX_BLOCK_ROWS", 100)
    count = 1_050
    write("in/a.parquet", a=[float(i) for i in range(count)], b=[0] * count, name=[""] * count)
    outcome = score(keep="a", features="a,b")
    assert outcome.status == 0
    table = pa.parquet.read_table("out/part-00000-of-00002.parquet")
    assert table["a"].to_pylist() == table["prediction"].to_pylist() == list(range(count))


def test_files_that_a_second_runner_thread_reads_stay_apart(score, results, write):
    for number in range(6):
        write(f"in/{number}.parquet", a=[float(number)] * 50, b=[0] * 50, name=[""] * 50)
    options = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
    assert score("--", *options, input="in/[0-9].parquet").status == 0
    assert [row["prediction"] for row in results()] == [n for n in range(6) for _ in range(50)]
