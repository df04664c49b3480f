"""The harness on few rows: what it measures, compares, checks and writes; no times."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.bounds import BOUNDS, Bound, check
from benchmarks.job import PEERS
from benchmarks.jobs import all_jobs
from benchmarks.page import write_page
from benchmarks.systems import SYSTEMS

TESTS = Path(__file__).parents[1]
JOBS = {job.name: job for job in all_jobs()}
MARKS = "before\n<!-- results: written by `make bench-page` -->\n<!-- end of results -->\nafter\n"


def result(**seconds):
    runs = [
        {"system": system, "repetition": i, "seconds": value, "startup_s": 1.0, "rows": 10}
        | {"peak_bytes": 1 << 20}
        for system, values in seconds.items()
        for i, value in enumerate(values)
    ]
    kept = {"date": "2026-01-01", "machine": "one", "versions": {"numpy": "2"}}
    return {"reference": "loop", "runs": runs, **kept}


@pytest.mark.slow
def test_a_job_runs_in_fresh_processes(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--folder", str(tmp_path), "run", "logistic-2m"]
    options = ["--quick", "--repetitions", "1", "--systems", "loop,tables"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    subprocess.run([*command, *options], env=environment, check=True, capture_output=True)
    found = json.loads((tmp_path / "quick" / "logistic-2m.json").read_text())
    loop, tables = found["runs"]
    assert [loop["system"], tables["system"]] == ["loop", "tables"]
    assert loop["rows"] == tables["rows"] == JOBS["logistic-2m"].quick_rows
    assert loop["sums"] == pytest.approx(tables["sums"])
    assert min(loop["sums"]) > 0
    for run in (loop, tables):
        assert 0 < run["seconds"] < run["wall_s"]
        assert 0 < run["startup_s"] < run["wall_s"]


def test_memory_is_that_of_a_process_and_its_children(tmp_path):
    hold = "held = b'x' * (100 << 20)"
    child = f"import time; {hold}; time.sleep(0.5)"
    code = f"import subprocess, sys; {hold}; subprocess.run([sys.executable, '-c', {child!r}])"
    peak = measure._peak_of_tree([sys.executable, "-c", code], {}, tmp_path / "log.txt")
    assert 200 << 20 < peak < 300 << 20


def test_a_failing_system_is_told_with_what_it_printed(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"):
        measure._peak_of_tree(command, {}, tmp_path / "log.txt")


@pytest.mark.parametrize(("rows", "sums"), [(3, [6.0, 1.0]), (4, [6.0, 1.1])])
def test_other_outputs_are_refused(rows, sums):
    loop = {"system": "loop", "rows": 4, "sums": [6.0, 1.0]}
    measure._compare(JOBS["mlp"], {"system": "tables", "rows": 4, "sums": [6.0, 1.00001]}, [loop])
    with pytest.raises(RuntimeError, match=f"tables wrote {rows} rows .* but loop 4 rows"):
        measure._compare(JOBS["mlp"], {"system": "tables", "rows": rows, "sums": sums}, [loop])


def test_bounds_are_of_medians():
    results = {"mlp": result(loop=[1.0, 9.0, 1.1], tables=[1.2, 1.3, 0.1])}
    kept, missed = Bound("mlp", "tables", 1.1), Bound("mlp", "tables", 1.05)
    assert check(results, [kept]) == []
    assert check(results, [missed]) == ["mlp: seconds of tables, over loop: 1.091, more than 1.050"]
    assert check({}, [kept]) == ["mlp: seconds of tables, over loop: not measured"]


def test_bounds_and_jobs_name_what_there_is():
    for bound in BOUNDS:
        assert bound.system in JOBS[bound.job].systems
        assert bound.against in JOBS[bound.other_job or bound.job].systems
    for job in JOBS.values():
        assert job.reference in job.systems
        assert set(job.peers) <= set(PEERS)
        own = {*job.systems, *job.peers} - {"imports", "imports-bare"}
        assert own <= set(SYSTEMS)


def test_the_page_keeps_what_is_around_the_results(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text(MARKS)
    results = {"mlp": result(loop=[2.0], tables=[3.0], beam=[40.0])}
    for _ in range(2):
        write_page(tmp_path, results, {"mlp": result(loop=[1.0], daft=[1.25])})
    text = page.read_text()
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "| torch MLP, 500 k x 64 | 2.00 s |  | 1.50 |  | 20 | 1.25 |  |  |" in text
    assert "- torch MLP, 500 k x 64 (1.50): loop 1.00, Daft 1.25" in text
    drawing = xml.etree.ElementTree.parse(tmp_path / "benchmarks.svg")
    labels = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"torch MLP, 500 k x 64", "Daft", "1.50", "20"} <= set(labels)
