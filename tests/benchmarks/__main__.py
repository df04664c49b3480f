"""``python -m benchmarks``: run jobs, check the bounds, write the page of results."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bounds import BOUNDS, check
from benchmarks.job import Job
from benchmarks.jobs import all_jobs, find
from benchmarks.measure import Place, measure

ROOT = Path(__file__).parents[2]
_LIBRARIES = ("apache-beam", "numpy", "pandas", "pyarrow", "scikit-learn", "skops", "torch")
_PEER_LIBRARIES = ("daft", "ray", "pyspark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 unless a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure jobs")
    run.add_argument("jobs", nargs="*", metavar="JOB", help="all if none is named")
    run.add_argument("--quick", action="store_true", help="few rows, to try the harness out")
    run.add_argument("--repetitions", type=int, default=3)
    run.add_argument("--systems", help="only these, separated by commas")
    run.add_argument("--peers", metavar="PYTHON", help="measure the peers that this one has")
    commands.add_parser("list", help="list jobs and their systems")
    commands.add_parser("check", help="compare the last results with the bounds")
    page = commands.add_parser("page", help="write the page of results")
    page.add_argument("--docs", type=Path, default=ROOT / "docs")
    parsed = parser.parse_args(arguments)
    if parsed.command == "run":
        _run(parsed)
    elif parsed.command == "list":
        for job in all_jobs():
            print(f"{job.name:18} {', '.join((*job.systems, *job.peers))}")
    elif parsed.command == "check":
        missed = check(_results(parsed.folder))
        print("\n".join(missed) or f"all {len(BOUNDS)} bounds are kept")
        return bool(missed)
    else:
        from benchmarks.page import write_page

        write_page(parsed.docs, _results(parsed.folder), _results(parsed.folder, ".peers"))
    return 0


def _run(parsed: argparse.Namespace) -> None:
    place = Place(parsed.folder, parsed.quick)
    for job in [find(name) for name in parsed.jobs] or all_jobs():
        systems: Sequence[str] = job.systems
        if parsed.peers:
            systems = ("loop", *job.peers) if job.peers else ()
        if parsed.systems:
            systems = [system for system in systems if system in parsed.systems.split(",")]
        if systems:
            runs = measure(job, place, systems, parsed.repetitions, parsed.peers or sys.executable)
            path = place.result(job, with_peers=bool(parsed.peers))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_result(job, parsed, runs), indent=1))


def _result(job: Job, parsed: argparse.Namespace, runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "job": job.name,
        "reference": "loop" if parsed.peers else job.reference,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "versions": _versions(parsed.peers),
        "runs": runs,
    }


def _results(folder: Path, suffix: str = "") -> dict[str, dict[str, Any]]:
    paths = {job.name: folder / "results" / f"{job.name}{suffix}.json" for job in all_jobs()}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {memory:.0f} GiB of memory, {platform.system()}"


def _versions(python: str | None) -> dict[str, str]:
    """Of the libraries in the environment where the systems were measured."""
    if python is None:
        own = {name: importlib.metadata.version(name) for name in ("runinference", *_LIBRARIES)}
        return {"python": platform.python_version(), **own}
    code = (
        "import importlib.metadata as m, json, platform; "
        f"print(json.dumps({{'python': platform.python_version(), "
        f"**{{n: m.version(n) for n in {(*_PEER_LIBRARIES, *_LIBRARIES[1:])!r}}}}}))"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(found.stdout)
    return versions


if __name__ == "__main__":
    sys.exit(main())
