"""``python -m benchmarks.report_cost``: what ``--report`` adds to ``runinference score``.

Two ways. Whole runs with a report and without, by turns, in wall and processor time: what a user
sees, with the machine's noise. And the seconds that one run spends in the report's own code
(importing it, listening, drawing, writing), over all processor seconds of that run: which has next
to no noise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.job import Job
from benchmarks.jobs import find
from benchmarks.measure import Place

ROOT = Path(__file__).parents[2]
PROMISED = 0.02


def main() -> int:
    """Measure, and compare with what is promised; 0 unless that is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_cost", description=__doc__)
    parser.add_argument("jobs", nargs="*", default=["logistic-8m", "logistic-2m"])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few rows, to try it out")
    parser.add_argument("--within", nargs=2, metavar=("JOB", "OUTPUT"), help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    place = Place(parsed.folder, parsed.quick)
    if parsed.within:
        job = find(parsed.within[0])
        print(json.dumps(_within(_command(job, place, Path(parsed.within[1])))))
        return 0
    shares = {name: _measure(find(name), place, parsed.pairs) for name in parsed.jobs}
    missed = [name for name, share in shares.items() if share > PROMISED]
    print(f"at most {PROMISED:.0%} is promised: {'missed for ' if missed else ''}", end="")
    print(", ".join(missed) or "kept")
    return bool(missed)


def _measure(job: Job, place: Place, pairs: int) -> float:
    output = place.root / "report-output"
    command = _command(job, place, output)
    report = ["--report", str(output / "report.html")]
    place.inputs(job)
    ratios: list[tuple[float, float]] = []
    for number in range(pairs):
        both = [[*command], [*command, *report]]
        times = [_run(one, output) for one in (both if number % 2 else both[::-1])]
        plain, reported = times if number % 2 else times[::-1]
        ratios.append((reported[0] / plain[0], reported[1] / plain[1]))
        print(
            f"{job.name}: wall {plain[0]:.2f} and {reported[0]:.2f} s, "
            f"processor {plain[1]:.2f} and {reported[1]:.2f} s",
            file=sys.stderr,
        )
    shares = [_share(job, place, output) for _ in range(3)]
    wall, processor = (statistics.median(ratio[i] for ratio in ratios) for i in (0, 1))
    share = statistics.median(shares)
    print(
        f"{job.name}: with a report over without, median of {pairs} pairs: wall {wall:.3f}, "
        f"processor {processor:.3f}; the report's own code: {share:.2%} of the run's processor time"
    )
    return share


def _command(job: Job, place: Place, output: Path) -> list[str]:
    return job.command(place.inputs(job), output / "scored")


def _run(arguments: Sequence[str], output: Path) -> tuple[float, float]:
    """Wall and processor seconds of a whole process."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "runinference_cli", *arguments])
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return wall, used.ru_utime + used.ru_stime


def _share(job: Job, place: Place, output: Path) -> float:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.report_cost", "--folder", str(place.root)]
    command += ["--quick"] if place.is_quick else []
    command += ["--within", job.name, str(output)]
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]).rstrip(":")
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    share: float = told["report"] / told["all"]
    parts = ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in told["parts"].items())
    print(f"{job.name}: {share:.2%}: {parts} of {told['all']:.2f} s", file=sys.stderr)
    return share


def _within(arguments: Sequence[str]) -> dict[str, Any]:
    """Score in this process, and take the time of all that is the report's."""
    from runinference_cli.main import main as command

    import_module: Any = __import__
    parts: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                parts[name] = parts.get(name, 0.0) + time.thread_time() - start

        return run

    import runinference_cli.score as scoring

    def importing(*args: Any) -> Any:
        timed("import", import_module)("runinference_cli.score_report")
        from runinference_cli import score_report
        from runinference_cli.run_report.collected import Collected

        score_report.page = timed("draw", score_report.page)
        score_report.write_page = timed("write", score_report.write_page)
        score_report.ScoreReport._facts = timed("facts", score_report.ScoreReport._facts)
        predicted = Collected.batch_predicted
        listen = timed("listen", predicted)
        listen.__dict__.update(predicted.__dict__)  # the mark of an observer
        Collected.batch_predicted = _as_method(listen)
        Collected._remember_memory = timed("memory", Collected._remember_memory)
        return report_of(*args)

    report_of = scoring._report
    scoring._report = importing
    place = Path(arguments[-1]).parent / "report.html"
    status = command([*arguments, "--report", str(place)])
    if status:
        raise RuntimeError(f"the run ended with {status}")
    return {"report": sum(parts.values()), "all": time.process_time(), "parts": parts}


def _as_method(listen: Callable[..., Any]) -> Callable[..., Any]:
    def batch_predicted(self: Any, event: Any) -> Any:
        return listen(self, event)

    batch_predicted.__dict__.update(listen.__dict__)
    return batch_predicted


if __name__ == "__main__":
    sys.exit(main())
