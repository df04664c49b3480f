"""The command as a process: what it imports, prints on a terminal, and leaves when it is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCORE = ["score", "--handler.model_uri", "model.json", "--input", "in", "--output", "out"]


@pytest.fixture
def start(plugin, folder):
    """Starts the command; what still runs at the end of the test is killed."""
    started = []

    def run(*arguments, **options):
        command = [sys.executable, "-m", "runinference_cli", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(plugin)}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(command, env=environment, **options)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_run_says_only_its_summary(start, results):
    status, out, err = finish(start(*SCORE, "--handler", "linear"))
    assert (status, err) == (0, "")
    assert out.startswith("scored 5 rows in ")
    assert len(out.splitlines()) == 5
    assert len(results()) == 5


def test_a_failed_run_says_one_line(start):
    status, out, err = finish(start(*SCORE, "--handler", "linear", "--features", "name"))
    assert (status, out) == (1, "")
    assert err.startswith("error: column 'name' is of type string")
    assert len(err.splitlines()) == 1
    assert not Path("out").exists()


def test_listing_handlers_imports_no_framework_and_no_beam(plugin):
    program = (
        "import sys, time\n"
        "start = time.process_time()\n"
        "from runinference_cli.main import main\n"
        "status = main(['handlers'])\n"
        "seconds = time.process_time() - start\n"
        "heavy = ['acme_handlers', 'apache_beam', 'jsonargparse', 'numpy', 'pandas', 'pyarrow',\n"
        "         'rich', 'sklearn', 'skops', 'torch']\n"
        "print([name for name in heavy if name in sys.modules], status, seconds)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(plugin)}
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    listed, last = out.stdout.rsplit("\n", 2)[:2]
    assert re.search(r"^linear +acme-plugin +1\.5$", listed, re.MULTILINE)
    imported, status, seconds = last.rsplit(" ", 2)
    assert (imported, status) == ("[]", "0")
    assert float(seconds) < 0.5


def wait_for_staging(process):
    deadline = time.monotonic() + 60
    while not list(Path.cwd().glob(".out.partial-*/written")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupt_leaves_nothing(start):
    process = start(
        *SCORE,
        *("--handler", "slow"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for_staging(process)
    process.send_signal(signal.SIGINT)
    # a call into a library that does not return is interrupted only when it does
    status, out, err = finish(process)
    assert (status, out, err) == (130, "", "interrupted: no results were put into place\n")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in", "model.json"]


def test_a_killed_run_leaves_nothing_that_looks_whole_and_the_next_one_cleans_up(start, results):
    process = start(*SCORE, "--handler", "slow")
    wait_for_staging(process)
    process.kill()
    process.communicate()
    assert not Path("out").exists()
    assert len(list(Path.cwd().glob(".out.partial-*"))) == 1
    status, _, err = finish(start(*SCORE, "--handler", "linear"))
    assert (status, err) == (0, "")
    assert len(results()) == 5
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in", "model.json", "out"]
