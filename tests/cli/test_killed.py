"""Runs that are killed or stopped at any moment: what is in the output folder is whole.

What a run does to its folders are steps that Python makes, and in between Arrow writes files. So
some tests end runs right before each step, and some at random moments.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

SERVER = Path(__file__).with_name("forked_runs.py")
COUNT = 1000
MOMENTS = int(os.environ.get("KILL_MOMENTS", "3"))
# where there is little time, some of the steps that change what there is
IS_SHORT = MOMENTS <= 3
STEPS = {"only": ["os.mkdir", "os.rename"]} if IS_SHORT else {}
PARTS = [f"part-{number:05d}-of-00002.parquet" for number in range(2)]
STOPS = [
    (signal.SIGTERM, "terminated"),
    (signal.SIGINT, "interrupted"),
    (signal.SIGHUP, "hung up"),
]
WORKERS = ["--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]


class Forks:
    """Runs of the command from an interpreter that has imported it.

    Attributes:
        folder: the current one of the runs.
    """

    def __init__(self, server, folder):
        self._server = server
        self.folder = folder

    def start(self, *arguments, scale=1, **request):
        options = ["--handler", "paced", "--handler.model_uri", "model.json", "--input", "in"]
        options += ["--output", "out", "--batching.max_size=100", f"--handler.scale={scale}"]
        request |= {"folder": str(self.folder), "log": f"{self.folder}.log"}
        request["arguments"] = ["score", *options, *arguments]
        self._server.stdin.write(f"{json.dumps(request)}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def wait(self):
        """The status of the run that was started, and what it said."""
        status = int(self._server.stdout.readline())
        return status, Path(f"{self.folder}.log").read_text()

    def run(self, *arguments, **request):
        self.start(*arguments, **request)
        return self.wait()

    def steps(self, **kinds):
        """How many steps a run makes that replaces results; those of scale 1 are there then."""
        self.run(scale=2)
        status, said = self.run("--overwrite", step=0, signal=0, **kinds)
        assert status == 0, said
        return int(said.splitlines()[-1])


@pytest.fixture(scope="module")
def server(plugin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    make(folder)
    (folder.parent / f"{folder.name}.log").touch()
    with subprocess.Popen(
        [sys.executable, str(SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(plugin)},
    ) as process:
        assert Forks(process, folder).run() == (0, "")
        yield process
        process.stdin.close()


@pytest.fixture
def forks(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    return Forks(server, tmp_path)


def make(folder):
    """A model and two files of rows."""
    (folder / "model.json").write_text("[1, 10]")
    (folder / "in").mkdir()
    for number, name in enumerate("ab"):
        values = {"a": [number + row / COUNT for row in range(COUNT)], "b": range(COUNT)}
        pa.parquet.write_table(pa.table(values), folder / f"in/{name}.parquet")


def expected(scale):
    """The rows of a run that nothing disturbed."""
    values = [(number + row / COUNT, row) for number in range(2) for row in range(COUNT)]
    return [{"a": a, "b": b, "prediction": (a + 10 * b) * scale} for a, b in values]


def found(folder="out"):
    """The rows in a folder of results, which looks whole; None where there is none."""
    if not Path(folder).exists():
        return None
    assert sorted(os.listdir(folder)) == ["_SUCCESS", *PARTS]
    return pa.parquet.read_table(folder).to_pylist()


def left_behind():
    return sorted(set(os.listdir()) - {"in", "model.json", "out", "failed"})


def state():
    """What is in the output folder and beside it, without the names that are another each time."""
    paths = [str(path) for path in Path().rglob("*") if path.parts[0] not in ("in", "model.json")]
    return sorted(re.sub(r"[0-9a-f]{8,}", "*", path) for path in paths)


def check_again(forks, scale, *arguments):
    """The same run again has the rows of an undisturbed one, and leaves nothing of the other."""
    status, said = forks.run("--overwrite", *arguments, scale=scale)
    assert status == 0, said
    assert found() == expected(scale)
    assert left_behind() == []


def test_killed_right_before_each_step(forks):
    states = []
    was_away = False
    scale = 1
    kinds = {"only": ["os.rename"]} if IS_SHORT else STEPS
    for step in range(1, forks.steps(**kinds) + 1):
        before, scale = scale, 3 - scale
        status, _ = forks.run("--overwrite", scale=scale, step=step, signal=signal.SIGKILL, **kinds)
        assert status == -signal.SIGKILL
        rows, left = found(), state()
        assert rows in (None, expected(before), expected(scale))
        if rows is None:  # the old ones were put away, the new ones not yet in place
            was_away = True
            status, said = forks.run(scale=scale)
            assert status == 2
            assert "the folder is not empty (_SUCCESS, part-00000-of-00002.parquet" in said
            assert "say --overwrite" in said
            assert found() == expected(before)
            assert left_behind() == []
        if left not in states:
            states.append(left)
            check_again(forks, scale)
        elif rows != expected(scale):
            scale = before
        for folder in left_behind():
            shutil.rmtree(folder)
    assert was_away


def test_stopped_right_before_each_step(forks):
    scale, statuses = 2, []
    for step in range(1, forks.steps(**STEPS) + 1):
        number, how = STOPS[step % len(STOPS)]
        status, said = forks.run("--overwrite", scale=scale, step=step, signal=number, **STEPS)
        statuses.append(status)
        assert left_behind() == []
        if status == 0:  # too late: the results are complete
            assert found() == expected(scale)
            scale = 3 - scale
        else:
            assert (status, said) == (128 + number, f"{how}: no results were put into place\n")
            assert found() == expected(3 - scale)
    assert set(statuses) == {0, *(128 + number for number, _ in STOPS)}


def test_killed_at_random_moments(forks):
    chosen = random.Random(20261123)
    pace = ["--inference-args", '{"seconds": 0.01}']
    longest = duration(forks, *pace)
    statuses = []
    scale = 1
    for _ in range(MOMENTS):
        before, scale = scale, 3 - scale
        overwrite = chosen.random() < 0.5
        if not overwrite:
            shutil.rmtree("out")
        arguments = [*pace, *(["--overwrite"] if overwrite else [])]
        statuses.append(killed(forks, chosen.uniform(0, longest), *arguments, scale=scale))
        assert found() in (expected(scale), expected(before) if overwrite else None)
        check_again(forks, scale)
    assert -signal.SIGKILL in statuses


def with_failures(scale):
    """Arguments with which one row of each file fails, another one for each scale."""
    return ["--failures", "failed", "--inference-args", json.dumps({"bad": 499 + scale})]


def scale_of(folder):
    """Of the run that the results or the failed rows come from; None where there are none."""
    rows = found(folder)
    if rows is None:
        return None
    if folder == "failed":
        [bad] = {row["b"] for row in rows}
        return bad - 499
    [scale] = [s for s in (1, 2) if rows == [row for row in expected(s) if row["b"] != 499 + s]]
    return scale


def test_killed_when_results_and_failed_rows_are_put_into_place(forks):
    forks.run(*with_failures(2), scale=2)
    renames = {"only": ["os.rename"], "signal": signal.SIGKILL}
    status, said = forks.run("--overwrite", *with_failures(1), step=0, **renames)
    assert status == 0, said
    scale = 1
    for step in range(1, int(said.splitlines()[-1]) + 1, 2 if IS_SHORT else 1):
        before, scale = scale, 3 - scale
        arguments = ["--overwrite", *with_failures(scale)]
        status, _ = forks.run(*arguments, scale=scale, step=step, **renames)
        assert status == -signal.SIGKILL
        results, failed = scale_of("out"), scale_of("failed")
        assert {results, failed} <= {None, before, scale}
        # results come last: where they are new, everything is
        assert results != scale or failed == scale
        assert forks.run(*arguments, scale=scale)[0] == 0
        assert (scale_of("out"), scale_of("failed"), left_behind()) == (scale, scale, [])


@pytest.mark.parametrize("processes", [WORKERS, ["--execution.process=true"]])
def test_killed_with_other_processes(forks, processes):
    chosen = random.Random(4)
    longest = duration(forks, *processes)
    for _ in range(-(-MOMENTS // 6)):
        shutil.rmtree("out", ignore_errors=True)
        killed(forks, chosen.uniform(0.5, 1) * longest, *processes)
        assert found() in (None, expected(1))
        wait_for_no_process_in(forks.folder)
    check_again(forks, 1, *processes)


def wait_for_no_process_in(folder):
    """Wait until no process has it as its current folder, but this one."""
    deadline = time.monotonic() + 60
    while others := [
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_in(pid, folder)
    ]:
        assert time.monotonic() < deadline, others
        time.sleep(0.05)


def is_in(pid, folder):
    try:
        return pid != os.getpid() and os.readlink(f"/proc/{pid}/cwd") == str(folder)
    except OSError:  # over, or somebody else's
        return False


def duration(forks, *arguments):
    """Seconds that the run takes that nothing disturbs."""
    start = time.monotonic()
    status, said = forks.run(*arguments)
    assert status == 0, said
    return time.monotonic() - start


def killed(forks, seconds, *arguments, **options):
    """The status of a run that was killed after so many seconds, with all its processes."""
    group = forks.start(*arguments, **options)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.killpg(group, signal.SIGKILL)
    return forks.wait()[0]
