"""What a run says while it goes on, and its summary for programs."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from runinference.hooks import BatchPredicted, ExamplesFailed
from runinference_cli import progress
from runinference_cli.counts import Counts
from runinference_cli.progress import Pace, state

SCORE = ["score", "--handler.model_uri", "model.json", "--input", "in", "--output", "out"]


def counted(*sizes, failed=0):
    counts = Counts()
    for size in sizes:
        counts.batch_predicted(BatchPredicted("h", "m", size, 8, 0.1))
    if failed:
        counts.examples_failed(ExamplesFailed("h", "m", failed, "inference", "ValueError", "x"))
    return counts


def test_what_is_told_of_a_run_that_goes_on():
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    now[0] = 1.0
    assert state(Counts(), 4000, pace) == ["loading the model", "1 s"]
    now[0] = 2.0
    state(counted(1), 4000, pace)
    now[0] = 4.0
    counts = counted(900, 1100, failed=1)
    assert state(counts, 4000, pace) == [
        "2,001 of 4,000 rows (50%)",
        "2 s left",
        "1,000 rows/s",
        "2 batches, the last of 1,100 rows",
        "1 failed",
    ]
    assert state(counts, None, pace)[:2] == ["2,001 rows", "4 s so far"]


def test_the_pace_is_that_of_late():
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    for second in range(60):
        now[0] = float(second)
        done = 100 * second if second < 30 else 3000 + 10 * (second - 30)
        rate = pace.rate(done)
    assert rate == pytest.approx(10, rel=0.05)
    now[0] = 100.0
    assert pace.rate(done) < 10


def test_without_a_terminal_there_are_lines_now_and_then(score, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_S", 0.02)
    options = {"handler": "paced", "handler.model_uri": "model.json"}
    outcome = score("--inference-args.seconds", "0.3", **options)
    lines = outcome.err.splitlines()
    assert outcome.status == 0
    assert lines[0] == "loading the model, 1 s"
    assert all(re.match(r"loading the model, |\d of 5 rows \(\d+%\), ", line) for line in lines)
    assert "\x1b" not in outcome.err
    outcome = score("--quiet", "--overwrite", "--inference-args.seconds", "0.3", **options)
    assert (outcome.out, outcome.err) == ("", "")


@pytest.mark.parametrize("columns", [80, 200])
def test_a_display_fits_the_terminal_and_is_gone_at_the_end(plugin, folder, columns):
    reader, writer = pty.openpty()
    ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    Path("a-rather-long-folder-name-for-a-model" * 3).mkdir()
    model = Path("model.json").rename(
        Path("a-rather-long-folder-name-for-a-model" * 3, "model.json")
    )
    environment = {**os.environ, "PYTHONPATH": str(plugin), "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    command = [
        sys.executable,
        "-m",
        "runinference_cli",
        "score",
        "--input",
        "in",
        "--output",
        "out",
    ]
    command += ["--handler", "paced", "--handler.model_uri", str(model)]
    command += ["--inference-args.seconds", "0.6", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writer, env=environment)
    os.close(writer)
    shown = b""
    try:
        while data := os.read(reader, 4096):
            shown += data
    except OSError:  # the other end is closed
        pass
    os.close(reader)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["rows"] == 5  # the display and all else is on standard error
    frames = re.split(r"\x1b\[[0-9;?]*[A-Za-ln-z]", shown.decode())
    lines = [
        re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for f in frames for line in f.splitlines()
    ]
    assert any("loading the model" in line for line in lines)
    assert max(map(len, lines)) <= columns
    assert shown.decode().endswith("\x1b[2K")  # the last line was erased
    models = {line for line in lines if "model.json@" in line}
    assert models
    assert all(line.startswith("…" if columns == 80 else "model ") for line in models)


def test_a_summary_for_programs(score):
    outcome = score("--json", "--quiet")
    assert (outcome.status, outcome.err) == (0, "")
    [line] = outcome.out.splitlines()
    told = json.loads(line)
    assert told.pop("seconds") > 0
    assert told.pop("load_seconds") > 0
    assert told.pop("rows_per_second") > 0
    assert told.pop("model_id").startswith("model.json@")
    assert len(told.pop("sha256")) == 64
    assert told == {
        "status": "done",
        "rows": 5,
        "failed_rows": 0,
        "deduplicated_rows": 0,
        "batches": 1,
        "mean_batch_size": 5.0,
        "files": 2,
        "output": "out",
        "failures": None,
        "failure_reasons": [],
        "report": None,
    }


def test_failed_rows_for_programs(score):
    options = {"handler": "paced", "handler.model_uri": "model.json", "failures": "failed"}
    outcome = score("--json", "--inference-args.bad", "3", **options)
    told = json.loads(outcome.out)
    assert (told["rows"], told["failed_rows"], told["failures"]) == (4, 1, "failed")
    assert told["failure_reasons"] == [{"reason": "ValueError: a bad row", "rows": 1}]


def test_a_failed_run_for_programs(score):
    outcome = score("--json", features="name")
    assert outcome.status == 1
    told = json.loads(outcome.out)
    assert told["status"] == "failed"
    assert outcome.err == f"error: {told['error']}\n"
    assert told["error"].startswith("column 'name' is of type string")
