"""Faults that take a process with them or keep it busy, here and in Beam's RunInference.

Each test is a row of the table in docs/reliability.md, and shows what both do.
"""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import faulty
import pytest
from alone import NUMBERS
from running import run_beams, run_ours

from runinference import Execution

ALONE = Path(__file__).with_name("alone.py")
WITHOUT_THREE = [(1, 2), (2, 4), (4, 8)]

CASES = {
    "Beam's crashes": ("beams", "Crashes", {}),
    "Beam's crashes apart": ("beams", "Crashes", {"use_subprocess": True}),
    "ours crashes": ("ours", "Crashes", {}),
    "Beam's leaves": ("beams", "Leaves", {}),
    "Beam's cannot be pickled": ("beams", "RaisesUnpicklable", {"use_subprocess": True}),
}


@pytest.fixture(scope="module")
def alone():
    """Per case, the status of its process, and the error, the results and the failures."""
    command = [sys.executable, str(ALONE), json.dumps(list(CASES.values()))]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(CASES, map(json.loads, ended.stdout.splitlines()), strict=True))


def check_only_three_failed(outcome, kind, part):
    assert outcome.error is None
    assert sorted(outcome.results) == WITHOUT_THREE
    [failure] = outcome.failures
    assert (failure.example, failure.type) == (3, kind)
    assert part in failure.message


def test_the_model_crashes(alone):
    assert alone["Beam's crashes"] == [-signal.SIGSEGV, None]
    status, (error, results, [[batch, reason]]) = alone["Beam's crashes apart"]
    assert (status, error, results, batch) == (0, "None", [], NUMBERS)
    assert "BrokenProcessPool" in reason
    assert alone["ours crashes"] == [-signal.SIGSEGV, None]
    ours = run_ours(faulty.Crashes(), NUMBERS, Execution(process=True))
    check_only_three_failed(ours, "runinference.errors.ModelCrashedError", "killed by SIGSEGV")


def test_the_model_leaves_the_program(alone):
    status, (error, results, failures) = alone["Beam's leaves"]
    assert (status, results, failures) == (0, [], [])
    assert error.startswith('SystemExit("out of here')
    ours = run_ours(faulty.Leaves(), NUMBERS)
    said = "called sys.exit('out of here')"
    check_only_three_failed(ours, "runinference.errors.ModelCrashedError", said)


def test_an_error_that_cannot_be_pickled(alone):
    _, (_, _, [[batch, reason]]) = alone["Beam's cannot be pickled"]
    assert batch == NUMBERS
    assert "no double of 3" not in reason
    assert "cannot pickle '_thread.lock' object" in reason
    ours = run_ours(faulty.RaisesUnpicklable(), NUMBERS)
    check_only_three_failed(ours, "faulty.UnpicklableError", "no double of 3")
    ours = run_ours(faulty.RaisesUnpicklable(), NUMBERS, Execution(process=True))
    said = "UnpicklableError: no double of 3"
    check_only_three_failed(ours, "runinference.errors.InferenceError", said)


def test_the_model_hangs(tmp_path):
    held = tmp_path / "held"
    held.touch()
    before = set(threading.enumerate())
    beams = run_beams(faulty.Hangs(held), NUMBERS, timeout=1)
    assert (beams.error, beams.results) == (None, [])
    assert [batch for batch, _ in beams.failures] == [NUMBERS]
    # and the call goes on
    assert [thread for thread in threading.enumerate() if thread not in before]
    held.unlink()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    held.touch()
    ours = run_ours(faulty.Hangs(held), NUMBERS, Execution(timeout=3))
    check_only_three_failed(ours, "runinference.errors.ModelTimeoutError", "3 s")
    assert set(threading.enumerate()) <= before
