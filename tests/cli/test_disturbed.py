"""What befalls the files and the disk of a run while it goes on: an error, nothing half-done."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from runinference_cli import readers, text_files

ROWS = 50_000


@pytest.fixture
def small_blocks(monkeypatch):
    """Files are read in small parts, so that little of one is read ahead."""
    monkeypatch.setattr(readers, "MAX_BLOCK_ROWS", 100)
    monkeypatch.setattr(text_files, "TEXT_BLOCK_BYTES", 20_000)


@pytest.fixture
def disturbed(score):
    """Scores, and has a command run meanwhile."""

    def run(command, *arguments, **options):
        args = {"inference-args": json.dumps({"command": command})}
        args |= {"handler": "disturbed", "handler.model_uri": "model.json"}
        return score(*arguments, **args, **{"batching.max_size": "500"} | options)

    return run


def write_text(path, opener):
    with opener(path, "wt") as file:
        if ".csv" in path.name:
            file.write("a,b\n")
            file.writelines(f"{row / 7},{row}\n" for row in range(ROWS))
        else:
            file.writelines(json.dumps({"a": row / 7, "b": row}) + "\n" for row in range(ROWS))


def check_failed(outcome, *parts):
    assert outcome.status == 1
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    for part in parts:
        assert part in outcome.err
    assert not Path("out").exists()
    assert list(Path().glob(".out*")) == []


@pytest.mark.parametrize(
    ("name", "opener", "told"),
    [
        ("c.csv", open, "bytes are missing at its end, which were there before"),
        ("c.jsonl", open, "bytes are missing at its end, which were there before"),
        ("c.csv.gz", gzip.open, "Truncated compressed stream"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_a_text_file_that_is_shortened(disturbed, folder, name, opener, told):
    write_text(folder / name, opener)
    size = (folder / name).stat().st_size
    outcome = disturbed(f"truncate --size={size * 3 // 4} {name}", input=name)
    check_failed(outcome, f"error: {name}: ", told)


@pytest.mark.usefixtures("small_blocks")
def test_a_text_file_that_grows_is_read_to_where_it_ended(disturbed, folder, results):
    write_text(folder / "c.jsonl", open)
    Path("more").write_text('{"a": 1, "b"')  # half of a row
    outcome = disturbed("cat more >> c.jsonl", input="c.jsonl")
    assert outcome.status == 0, outcome.err
    assert len(results()) == ROWS


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("truncate --size=20000 c.parquet", "c.parquet: damaged or not readable: File too short"),
        ("rm d.parquet", "d.parquet: the file does not exist (any more)"),
        ("cp model.json d.parquet", "d.parquet: not a Parquet file, or a damaged one: "),
        ("cp in/a.parquet d.parquet", "d.parquet: it is another file than when the run began"),
        ("cp e.parquet d.parquet", "d.parquet: it is another file than when the run began"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_parquet_files_that_are_shortened_removed_or_replaced(disturbed, folder, command, told):
    table = pa.table({"a": [row / 7 for row in range(5000)], "b": range(5000), "c": ["x"] * 5000})
    for name in ("c", "d"):
        pa.parquet.write_table(table, folder / f"{name}.parquet", row_group_size=500)
    other = table.set_column(0, "a", table["b"])
    pa.parquet.write_table(other, folder / "e.parquet", row_group_size=500)
    outcome = disturbed(command, input=["c.parquet", "d.parquet"], features=["a", "b"])
    check_failed(outcome, f"error: {told}")


@pytest.mark.parametrize("file_format", ["parquet", "jsonl", "csv"])
def test_the_folder_of_results_to_come_is_removed(disturbed, file_format):
    outcome = disturbed("rm -r .out.partial-*", **{"batching.max_size": "2"})
    check_failed(outcome, ".out.partial-", "was removed during the run: run again")


def test_the_folder_around_everything_is_removed(disturbed):
    Path("deep").mkdir()
    outcome = disturbed("rm -r deep", **{"batching.max_size": "2"}, output="deep/out")
    check_failed(outcome, "deep/.out.partial-", "was removed during the run: run again")
    assert not Path("deep").exists()


def test_the_output_folder_is_removed_before_it_is_replaced(disturbed, score, results):
    assert score().status == 0
    options = {"batching.max_size": "2"}
    assert disturbed("rm -r out", "--overwrite", **options).status == 0
    assert len(results()) == 5


def test_the_model_file_is_removed_once_it_is_loaded(disturbed, results):
    assert disturbed("rm model.json", **{"batching.max_size": "2"}).status == 0
    assert len(results()) == 5


# Scores in each format of results, and prints of each: the status, what was said, what is left.
SCORE_EACH = """
import contextlib, io, json, os, sys
from runinference_cli.main import main

for file_format in ("parquet", "csv", "jsonl"):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*sys.argv[1:], "--output-format", file_format])
    print(json.dumps([status, out.getvalue(), err.getvalue(), sorted(os.listdir())]))
"""


@pytest.fixture
def scored(plugin, folder):
    """Runs a command around ``runinference score`` with more than a megabyte of results."""
    values = np.random.default_rng(1).normal(size=ROWS)
    pa.parquet.write_table(pa.table({"a": values, "b": values}), folder / "in/c.parquet")
    command = [sys.executable, "-c", SCORE_EACH, "score", "--handler", "linear"]
    command += ["--handler.model_uri", "model.json", "--input", "in/c.parquet", "--output", "out"]

    def run(*around):
        done = subprocess.run(
            [*around, *command],
            env={**os.environ, "PYTHONPATH": str(plugin)},
            capture_output=True,
            text=True,
            check=True,
        )
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(outcomes) == 3
        return outcomes

    return run


def check_each_failed(outcomes, *parts):
    """Each said one line that names a file of the results to come, and left nothing."""
    for status, out, err, left in outcomes:
        assert (status, out) == (1, "")
        assert len(err.splitlines()) == 1
        for part in [*parts, "/.out.partial-", "/written/part-00000-"]:
            assert part in err
        assert left == ["in", "model.json"]


def test_files_may_not_grow_further(scored):
    outcomes = scored("bash", "-c", 'ulimit -f 100 && exec "$@"', "bash")
    check_each_failed(outcomes, "error: File too large: ")


# A disk of one megabyte, mounted where only this script sees it.
FULL_DISK = """
    set -e
    mkdir disk && mount -t tmpfs -o size=1m none disk
    cp model.json disk && ln -s ../in disk/in && cd disk
    exec "$@"
"""


def test_the_disk_is_full(scored):
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = [*own_mounts, "mount", "-t", "tmpfs", "none", "in"]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("a disk of one's own cannot be mounted on this system")
    outcomes = scored(*own_mounts, "bash", "-c", FULL_DISK, "bash")
    check_each_failed(outcomes, "error: the disk is full in '", "free some space")
