"""Run the systems of a job in fresh processes, by turns; take time, memory and outputs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from benchmarks.job import Job

__all__ = ["Place", "measure"]

_TIMEOUT_S = 3600
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TOLERANCE = 1e-4
# Threads that spin while they wait for one that is not running take its processor: with a second
# program on the machine they made a loop three times slower, one day and not the next.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
# What the command sets before it imports Arrow, which here comes before the command.
_OF_SYSTEM = {"tables": {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc"}}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where inputs and results are kept, and of which size.

    Attributes:
        root: a folder.
        is_quick: whether the rows are few, to try the harness out.
    """

    root: Path
    is_quick: bool

    def inputs(self, job: Job) -> Path:
        """The folder of a job's input and model, made the first time that it is asked for."""
        rows = job.quick_rows if self.is_quick else job.rows
        folder = self.root / "inputs" / f"{job.name}-{rows}"
        if not folder.exists():
            new = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            job.write(new, rows)
            new.rename(folder)
        return folder

    def result(self, job: Job, *, with_peers: bool) -> Path:
        """The file of a job's results."""
        size = "quick" if self.is_quick else "results"
        return self.root / size / f"{job.name}{'.peers' if with_peers else ''}.json"


def measure(
    job: Job, place: Place, systems: Sequence[str], repetitions: int, python: str = sys.executable
) -> list[dict[str, Any]]:
    """One record per run: system, seconds, startup_s, peak_bytes, rows, sums.

    Args:
        job: what is done.
        place: where its input is.
        systems: by turns, in another order each time.
        repetitions: of all systems.
        python: of the environment that the systems are installed in.

    Raises:
        RuntimeError: a system failed, or its outputs are not those of the first.
    """
    folder = place.inputs(job)
    runs: list[dict[str, Any]] = []
    for repetition in range(repetitions):
        shift = repetition % len(systems)
        for system in (*systems[shift:], *systems[:shift]):
            with _empty_folder(place.root / "output") as output:
                run = _run(job, system, folder, output, python)
            run = {"system": system, "repetition": repetition, **run}
            _compare(job, run, runs)
            runs.append(run)
            print(
                f"{job.name:18} {system:15} {run['seconds']:9.3f} s  started in "
                f"{run['startup_s']:6.2f} s  {run['peak_bytes'] / 2**20:6.0f} MiB",
                file=sys.stderr,
                flush=True,
            )
    return runs


def _run(job: Job, system: str, folder: Path, output: Path, python: str) -> dict[str, Any]:
    report = output.parent / "report.json"
    report.unlink(missing_ok=True)
    own = job.process(system, folder, output)
    worker = [python, "-m", "benchmarks.worker", job.name, system, folder, output, report]
    start = time.monotonic()
    environment = _ENVIRONMENT | _OF_SYSTEM.get(system, {})
    command = [str(part) for part in own or worker]
    peak = _peak_of_tree(command, environment, output.parent / "log.txt")
    wall = time.monotonic() - start
    told = {"seconds": wall} if own else json.loads(report.read_text())
    startup = 0.0 if own else told.pop("ready") - start
    if job.is_whole_process:
        told["seconds"], startup = wall, 0.0
    return {"startup_s": startup, "wall_s": wall, "peak_bytes": peak, **_outputs(output), **told}


def _outputs(folder: Path) -> dict[str, Any]:
    """Rows, and sums that tell predictions and their order; nothing where there is no output."""
    files = sorted(path for path in folder.rglob("*.parquet") if path.stat().st_size)
    if not files:
        return {}
    table = ds.dataset(files).to_table(columns=["id", "prediction"])
    ids = table.column("id").to_numpy()
    predictions = table.column("prediction").to_numpy().astype(np.float64)
    weighted = predictions @ (ids % 997)
    return {"rows": len(ids), "sums": [float(ids.sum()), float(predictions.sum()), weighted]}


def _compare(job: Job, run: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> None:
    for other in earlier:
        if "sums" not in other or "sums" not in run:
            continue
        if run["rows"] != other["rows"] or not np.allclose(run["sums"], other["sums"], _TOLERANCE):
            raise RuntimeError(
                f"{job.name}: {run['system']} wrote {run['rows']} rows with sums {run['sums']}, "
                f"but {other['system']} {other['rows']} rows with sums {other['sums']}"
            )
        return


@contextlib.contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _peak_of_tree(command: Sequence[str], variables: dict[str, str], log: Path) -> int:
    """Run a command, and tell the most memory that it and its descendants held at a time.

    Raises:
        RuntimeError: it failed, or took too long; with the end of what it printed.
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **variables, "PYTHONPATH": path.rstrip(os.pathsep)}
    done = threading.Event()
    peaks = [0]
    with log.open("w") as printed:
        process = subprocess.Popen(
            command, stdout=printed, stderr=printed, env=environment, start_new_session=True
        )

    def watch() -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while not done.wait(0.05):
            peaks.append(max(_resident(process.pid), _highest(process.pid)))
            if time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    done.set()
    watcher.join()
    if process.returncode:
        end = log.read_text()[-4000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{end}")
    return max(peaks)


def _highest(pid: int) -> int:
    """The most memory that a process alone has held so far, also between two looks at it."""
    # not from os.wait4, which counts what the parent held when it forked
    with contextlib.suppress(OSError):
        for line in Path("/proc", str(pid), "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _resident(pid: int) -> int:
    """Memory of a process and its descendants; what they share is counted once."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    own, shared = 0, 0
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, ())
        with contextlib.suppress(OSError):
            numbers = Path("/proc", str(process), "statm").read_text().split()
            own += int(numbers[1]) - int(numbers[2])
            shared = max(shared, int(numbers[2]))
    return (own + shared) * _PAGE
