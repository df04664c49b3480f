"""What goes wrong for a user: one message with the remedy, a status, and nothing left behind."""

import gzip
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

USAGE, FAILED = 2, 1


@pytest.fixture
def fails(score):
    """Scores, and holds the run to fail with one message and no trace of results."""

    def check(status, *parts, arguments=(), keeps=(), **options):
        outcome = score(*arguments, **options)
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert len(outcome.err.splitlines()) == 1
        for part in parts:
            assert part in outcome.err, outcome.err
        assert outcome.status == status
        output = Path(options.get("output") or "out")
        left = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
        assert left == list(keeps)
        assert [path.name for path in Path.cwd().iterdir() if ".partial-" in path.name] == []
        return outcome.err

    return check


# The handler and its options


def test_an_unknown_handler_is_named_with_the_nearest_and_the_installed(fails):
    fails(USAGE, "no handler 'linaer'", "did you mean 'linear'?", "installed: ", handler="linaer")


def test_a_missing_plugin_is_named_with_what_to_install(fails, monkeypatch):
    from runinference import registry

    monkeypatch.setitem(registry._OWN_HANDLERS, "acme-tensor", "runinference-acme")
    fails(USAGE, "run: pip install runinference-acme", handler="acme-tensor")


def test_a_plugin_that_cannot_be_imported(fails):
    parts = ("handler 'broken' of acme-plugin 1.5", "No module named 'no_such_framework'")
    fails(USAGE, *parts, handler="broken")


def test_no_handler_at_all(cli):
    outcome = cli("score", "--input", "in", "--output", "out")
    assert outcome.status == USAGE
    assert "say --handler NAME; installed: " in outcome.err
    assert "broken, changing, disturbed, linear" in outcome.err
    assert "--handler needs a handler's name" in cli("score", "--handler").err
    assert "--handler needs a handler's name" in cli("score", "--handler", "--input", "in").err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--handler.modle_uri=m"], ["handler 'linear' has no option '--handler.modle_uri'"]),
        (["--handler.modle_uri=m"], ["did you mean '--handler.model_uri'? it takes --handler.m"]),
        (["--handler.scale=big"], ["--handler.scale cannot be 'big': expected float"]),
        (["--handler.answer=all"], ["cannot be 'all': expected number, vector, parts, text"]),
        (["--handler.scale"], ["--handler.scale", "expected one argument"]),
        (["--batching.max_size=many"], ["--batching.max_size cannot be 'many': expected int"]),
        (["--batching.max_size=0"], ["max_size=0", "at least 1 is needed"]),
        (["--batching.min_size=5"], ["there are --batching.max_size, --batching.max_tokens"]),
        (["--batching.max_tokens=5"], ["max_tokens=5", "no length()"]),
        (["--owerwrite"], ["no option '--owerwrite'; did you mean '--overwrite'?"]),
        (["--runner=FlinkRunner"], ["no option '--runner'", "Beam's own options go behind --"]),
        (["stray.parquet"], ["'stray.parquet' stands alone: files go behind --input"]),
        (["--output-format=xml"], ["--output-format", "xml", "parquet"]),
        (["--column-types={a: number}"], ["--column-types a: no type 'number'", "float64"]),
        (["--column-types={a: int64}"], ["--column-types is for CSV and JSON Lines files"]),
        (["--inference-args=5"], ["--inference-args cannot be '5'"]),
        (["--", "--runer=FlinkRunner"], ["Beam has no option --runer; did you mean 'runner'?"]),
        (["--", "--direct_num_workers=two"], ["--direct_num_workers: invalid int value: 'two'"]),
        (["--", "--runner=NoRunner"], ["Unexpected pipeline runner: NoRunner", "FlinkRunner"]),
        (["--", "FlinkRunner"], ["'FlinkRunner' is no option of Beam's"]),
    ],
)
def test_options_that_are_wrong(fails, arguments, parts):
    fails(USAGE, *parts, arguments=arguments)


def test_options_that_are_missing(fails):
    fails(USAGE, "missing: --handler.model_uri", **{"handler.model_uri": None})
    fails(USAGE, "missing: --output", output=None)
    fails(USAGE, "missing: --input", input=None)


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("handler: linear\nimput: in", ["no option 'imput'; did you mean 'input'?"]),
        ("handler: {name: linear, modle: m}", ["handler 'linear' has no option 'modle'"]),
        ("handler: {name: linear, modle: m}", ["it takes answer, model_uri, scale"]),
        ("handler: linear\nbatching: {size: 4}", ["batching has no option 'size'", "max_size"]),
        ("handler: linear\nbatching: 4", ["batching needs options below it, not 4"]),
        ("handler: [linear]", ["handler is ['linear']; write its name"]),
        ("handler: {", ["not YAML"]),
        ("linear", ["expected options such as"]),
        ("handler: linear\ntraceback: true", ["no option 'traceback'"]),
    ],
)
def test_configuration_files_that_are_wrong(cli, config, parts):
    Path("job.yaml").write_text(config)
    outcome = cli("score", "--config", "job.yaml")
    assert outcome.status == USAGE
    for part in ["job.yaml", *parts] if "handler 'linear'" not in parts[0] else parts:
        assert part in outcome.err


def test_a_configuration_file_that_is_not_there(cli):
    assert "--config job.yaml: No such file" in cli("score", "--config", "job.yaml").err
    assert "--config needs a file" in cli("score", "--config").err


# The model


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["model file 'model.json' does not exist", "check the path"]),
        ("", ["model file 'model.json' is empty", "save or copy the model again"]),
        ("[1, 10", ["expected JSON, found JSON text", "Save it again."]),
        ("<html>", ["found an HTML page"]),
    ],
)
def test_model_files_that_are_wrong(fails, content, parts):
    Path("model.json").unlink()
    if content is not None:
        Path("model.json").write_text(content)
    fails(FAILED, *parts)


def test_a_number_of_columns_that_the_model_does_not_have_names_the_files(fails):
    parts = ("in/a.parquet, row 1: ValueError", "1 columns for 2 weights")
    fails(FAILED, "the model failed on", *parts, "--features", "--traceback", features="a")


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("key", ["the model failed on", "KeyError: 'weights' ("]),
        ("text", ["the model failed on", "UnicodeDecodeError: 'utf-8' codec can't decode"]),
        ("bare", ["the model failed on", ": ValueError ("]),
        ("lines", ["ValueError: one two ("]),
        (
            "memory",
            ["out of memory on a single example of", "in/a.parquet, row 1: ", "MemoryError"],
        ),
    ],
)
def test_whatever_a_handler_raises_is_told_without_beams_additions(fails, kind, parts):
    options = {"handler": "raising", "handler.model_uri": "model.json"}
    message = fails(FAILED, *parts, inference_args=f"{{kind: {kind}}}", **options)
    assert "while running" not in message


def test_traceback_shows_where(score):
    outcome = score("--traceback", features="a")
    assert outcome.status == FAILED
    assert "acme_handlers.py" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("error: the model failed on")


def test_an_error_from_a_worker_that_sends_text_is_as_short(score):
    # the runner prints what its workers send; the message is what comes last
    outcome = score("--traceback", "--", "--direct_running_mode=multi_threading", features="name")
    assert outcome.status == FAILED
    assert outcome.err.splitlines()[-1] == (
        "error: column 'name' is of type string, not numeric: leave it out of the features, or "
        "convert it"
    )


def test_predictions_whose_type_changes(fails, write):
    write("in/a.parquet", x=[1.0])
    write("in/b.parquet", x=[5.0])
    options = {"handler": "changing", "batching.max_size": 1}
    message = fails(FAILED, **options)
    assert "predictions" in message


# The input


def test_patterns_that_match_nothing(fails):
    fails(USAGE, "--input in/*.csv: no file matches", input="in/*.csv")
    fails(USAGE, "there is no folder 'on'", "the current one is ", input="on/*.parquet")
    fails(USAGE, "no such file; did you mean 'a.parquet'?", input="in/a.paquet")
    Path("none").mkdir()
    fails(USAGE, "--input none: the folder is empty", input="none")
    fails(USAGE, "nothere://x/y", "Unable to get filesystem", input="nothere://x/y")


def test_files_of_no_known_format(fails):
    fails(USAGE, "model.json: its suffix tells no format", "--input-format", input="model.json")
    Path("a.parquet.gz").write_bytes(gzip.compress(b""))
    fails(USAGE, "a.parquet.gz", "unpack it first", input="a.parquet.gz")


def test_a_feature_that_is_absent(fails):
    parts = ("--features: ", "no column 'nam'", "did you mean 'name'?", "'a', 'b', 'name'")
    fails(USAGE, *parts, features="a,nam")


def test_a_feature_that_is_not_numeric(fails):
    fails(FAILED, "column 'name' is of type string, not numeric", "; in in/a.p", features="a,name")


def test_a_feature_with_nulls(fails, write):
    write("in/a.parquet", a=[1.0, None], b=[1, 2], name=["x", "y"])
    parts = ("in/a.parquet, row 2: column 'a' has 1 nulls in 2 rows: fill or drop",)
    fails(FAILED, *parts, input="in/a.parquet")


def test_columns_to_keep(fails, write):
    fails(USAGE, "--keep: no column 'nme'; did you mean 'name'?", keep="nme")
    fails(USAGE, "there is a column 'a' already", output_column="a")
    write("lists.parquet", a=[1.0], b=[1], many=[[1, 2]])
    parts = ("column 'many' is of type list<element: int64>", "--keep", "--output-format")
    fails(USAGE, *parts, input="lists.parquet", output_format="csv")
    vector = {"handler.answer": "vector"}
    fails(FAILED, "as csv", "choose another --output-format", output_format="csv", **vector)


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"a": [1.0], "name": ["x"]}, "it has no column 'b'"),
        ({"a": [1.0], "b": [1], "c": [1], "name": ["x"]}, "it has another column 'c'"),
        ({"a": [1.0], "b": [1.5], "name": ["x"]}, "its column 'b' is double, not int64"),
    ],
)
def test_files_of_different_columns(fails, write, columns, part):
    write("in/b.parquet", **columns)
    fails(USAGE, f"in/b.parquet: {part}, unlike in/a.parquet")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.jsonl", "rows.csv.gz"])
def test_damaged_files_are_named(fails, name):
    good = Path("in/a.parquet").read_bytes()
    damaged = {
        "rows.parquet": good[:-10],
        "rows.csv": b"a,b\n1,2\n3,4,5\n",
        "rows.jsonl": b'{"a": 1, "b": 2}\n{"a": 3, "b": 4\n',
        "rows.csv.gz": gzip.compress(b"a,b\n" + os.urandom(1000).hex().encode() + b",2\n")[:-50],
    }[name]
    Path(name).write_bytes(damaged)
    fails(FAILED, f"{name}: ", input=name)


def test_a_parquet_file_that_is_damaged_behind_its_footer_names_it(fails, write):
    write("in/a.parquet", a=[float(i) for i in range(9999)], b=list(range(9999)), name=["x"] * 9999)
    content = bytearray(Path("in/a.parquet").read_bytes())
    content[1000:3000] = b"\xff" * 2000
    Path("in/a.parquet").write_bytes(content)
    fails(FAILED, "in/a.parquet: ", "damaged", input="in")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_value_that_does_not_fit_is_named_with_its_row(fails, suffix, monkeypatch):
    monkeypatch.setattr("runinference_cli.text_files.TEXT_BLOCK_BYTES", 200)
    rows = [(i, i) for i in range(50)] + [("n/a!", 50)]
    if suffix == "csv":
        lines = ["a,b", *(f"{a},{b}" for a, b in rows)]
        parts = ["rows.csv: row 52", "column 1: 'n/a!' is not int64", "--column-types"]
    else:
        lines = [f'{{"a": {a if a != "n/a!" else chr(34) * 2}, "b": {b}}}' for a, b in rows]
        parts = ["rows.jsonl: row 51 ", "to string"]
    Path(f"rows.{suffix}").write_text("\n".join(lines) + "\n")
    fails(FAILED, *parts, input=f"rows.{suffix}")


def test_other_columns_in_a_later_text_file(fails):
    Path("1.csv").write_text("a,b\n1,2\n")
    for header, part in (("a,c", "it has no column 'b'"), ("a,b,c", "it has another column 'c'")):
        Path("2.csv").write_text(f"{header}\n{'1,2,3'[: len(header)]}\n")
        fails(FAILED, f"2.csv: {part}", input=["1.csv", "2.csv"])
    Path("1.jsonl").write_text('{"a": 1, "b": 2}\n')
    Path("2.jsonl").write_text('{"a": 1, "b": 2, "c": 3}\n')
    fails(FAILED, "2.jsonl: a row has a field that", input=["1.jsonl", "2.jsonl"])


def test_a_header_with_a_name_twice(fails):
    Path("1.csv").write_text("a,a\n1,2\n")
    fails(USAGE, "1.csv: more than one column is called 'a'", input="1.csv")


# The output


def test_an_output_folder_that_is_not_empty(fails, score):
    assert score().status == 0
    before = sorted(path.name for path in Path("out").iterdir())
    fails(USAGE, "--output out: the folder is not empty", "--overwrite", keeps=before)


def test_overwriting_replaces_results_and_nothing_else(fails, score, results):
    assert score(output_format="csv").status == 0
    assert score("--overwrite", input="in/b.parquet").status == 0
    assert sorted(os.listdir("out")) == ["_SUCCESS", "part-00000-of-00001.parquet"]
    Path("out/notes.txt").write_text("mine")
    before = sorted(os.listdir("out"))
    message = "the folder holds other files (notes.txt)"
    fails(USAGE, message, arguments=["--overwrite"], keeps=before)


def test_a_failed_run_leaves_the_results_that_it_was_to_replace(fails, score, results):
    assert score().status == 0
    before = results()
    names = sorted(os.listdir("out"))
    fails(FAILED, "not numeric", arguments=["--overwrite"], features="name", keeps=names)
    assert results() == before


def test_outputs_that_are_no_folder(fails):
    fails(USAGE, "model.json: this is a file", output="model.json")
    fails(USAGE, "is a file, not a folder", output="model.json/out")
    fails(USAGE, "--output s3://bucket/out: results go to a local", output="s3://bucket/out")


def test_a_mounted_disk_itself_is_no_output(score):
    outcome = score(output="/proc")
    assert outcome.status == USAGE
    assert "--output /proc: a mounted disk's own folder cannot be replaced" in outcome.err


def test_a_full_disk(fails, monkeypatch):
    def on_a_full_disk(path, first):
        return pa.parquet.ParquetWriter("/dev/full", first.schema)

    from runinference_cli import writers

    monkeypatch.setitem(writers._OPENERS, "parquet", on_a_full_disk)
    message = fails(FAILED, "the disk is full", "free some space")
    assert re.search(r"in '\S+/\.out\.partial-\S+\.parquet'", message)


def test_a_full_disk_while_the_results_are_put_into_place(fails, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device", "results")

    monkeypatch.setattr("runinference_cli.staging.Staging.publish", full)
    fails(FAILED, "the disk is full in 'results'")
