"""Write the results into ``docs/benchmarks.md``, between two marks, and draw them beside it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.bounds import BOUNDS, Results, median
from benchmarks.job import OURS, PEERS, Job
from benchmarks.jobs import all_jobs
from benchmarks.plot import Bar, draw

__all__ = ["write_page"]

_START = "<!-- results: written by `make bench-page` -->"
_END = "<!-- end of results -->"
_PLOT = "benchmarks.svg"
_NAMES = {
    "loop": "loop",
    "overlapped": "overlapped loop",
    "tables": "`runinference score`",
    "rows": "RunInference, rows",
    "beam": "Beam's RunInference",
    "daft": "Daft",
    "ray": "Ray Data",
    "spark": "Spark",
    "imports": "imports alone",
    "imports-bare": "imports without skops and options",
    "beam-transform": "Beam's RunInference",
    "timed": "RunInference",
    "untimed": "RunInference, `preserve_timestamps=False`",
}
_COLUMNS = ("overlapped", "tables", "rows", "beam", *PEERS)


def write_page(docs: Path, results: Results, peers: Results) -> None:
    """Replace what is between the marks, and the plot.

    Args:
        docs: the folder of the page.
        results: of the project's own environment, by job.
        peers: of the peers', by job.

    Raises:
        SystemExit: nothing was measured, or the page has no marks.
    """
    if not results:
        raise SystemExit("there are no results: make bench")
    page = docs / "benchmarks.md"
    before, start, rest = page.read_text().partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end:
        raise SystemExit(f"{page} has no lines {_START!r} and {_END!r}")
    jobs = [job for job in all_jobs() if job.name in results]
    to_files = [job for job in jobs if job.reference == "loop"]
    (docs / _PLOT).write_text(draw([_bars(job, results, peers) for job in to_files]))
    blocks = [
        _circumstances(results, peers),
        f"![Times of all jobs, as multiples of the loop's]({_PLOT})",
        "Time as a multiple of the hand-written loop's (peers: of the loop beside them):",
        _ratios(to_files, results, peers),
        "Where another system is faster than `runinference score`:",
        _losses(to_files, results, peers),
        "What is promised, and what was measured:",
        _bounds(results),
        "Microseconds per example in `RunInference` alone:",
        _row_path([job for job in jobs if job.reference == "beam-transform"], results),
        *_where_they_go(jobs, results),
        "All of it (medians; the range is that of the repetitions):",
        _details(jobs, results, peers),
    ]
    page.write_text("\n\n".join([before + start, *blocks, end + after]))


def _where_they_go(jobs: Sequence[Job], results: Results) -> list[str]:
    if not any(run["system"] == "parts" for one in results.values() for run in one["runs"]):
        return []
    told = "Where they go, at the default (the first column is what both have around them):"
    return [told, _parts(jobs, results)]


def _circumstances(results: Results, peers: Results) -> str:
    every = [*results.values(), *peers.values()]
    dates = sorted({result["date"] for result in every})
    versions: dict[str, str] = {}
    for result in every:
        versions = {**result["versions"], **versions}
    runs = next(iter(results.values()))["runs"]
    repetitions = 1 + max(run["repetition"] for run in runs)
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join(
        [
            f"- Machine: {'; '.join(sorted({result['machine'] for result in every}))}",
            f"- Date: {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}",
            f"- Versions: {told}",
            f"- Commands: `make bench`{', `make bench-peers`' if peers else ''}; "
            f"{repetitions} repetitions",
        ]
    )


def _ratio(job: Job, system: str, results: Results, peers: Results) -> float | None:
    """A system's time over that of the reference that was measured by turns with it."""
    found = (peers if system in PEERS else results).get(job.name)
    reference = None if found is None else median(found, found["reference"], "seconds")
    own = median(found, system, "seconds")
    return None if own is None or reference is None else own / reference


def _ratios(jobs: Sequence[Job], results: Results, peers: Results) -> str:
    rows = []
    for job in jobs:
        seconds = median(results[job.name], "loop", "seconds")
        ratios = [_ratio(job, system, results, peers) for system in _COLUMNS]
        rows.append([job.title, f"{seconds:.2f} s", *map(_number, ratios)])
    return _table(["job", "loop", *(_NAMES[system] for system in _COLUMNS)], rows)


def _losses(jobs: Sequence[Job], results: Results, peers: Results) -> str:
    lines = []
    for job in jobs:
        own = _ratio(job, "tables", results, peers)
        ratios = {system: _ratio(job, system, results, peers) for system in _COLUMNS}
        faster = [
            f"{_NAMES[system]} {_number(ratio)}"
            for system, ratio in {"loop": 1.0, **ratios}.items()
            if ratio is not None and own is not None and ratio < own
        ]
        if faster:
            lines.append(f"- {job.title} ({_number(own)}): {', '.join(faster)}")
    return "\n".join(lines) or "Nowhere."


def _bounds(results: Results) -> str:
    rows = []
    for bound in BOUNDS:
        ratio = bound.ratio(results)
        if ratio is not None:
            verdict = "kept" if ratio <= bound.at_most else "**missed**"
            rows.append([str(bound), _number(bound.at_most), _number(ratio), verdict])
    return _table(["of", "at most", "measured", ""], rows)


def _row_path(jobs: Sequence[Job], results: Results) -> str:
    systems = ("beam-transform", "timed", "untimed")
    rows = []
    for job in jobs:
        found = results[job.name]
        cells = []
        for system in systems:
            seconds, count = median(found, system, "seconds"), median(found, system, "rows")
            ratio = _ratio(job, system, results, {})
            cells.append(
                ""
                if seconds is None or not count
                else f"{seconds / count * 1e6:.1f} ({_number(ratio)})"
            )
        rows.append([job.title, *cells])
    return _table(["examples", *(_NAMES[system] for system in systems)], rows)


def _parts(jobs: Sequence[Job], results: Results) -> str:
    every: dict[str, dict[str, float]] = {}
    for job in jobs:
        found = [run["parts"] for run in results[job.name]["runs"] if "parts" in run]
        if found:
            middle = {name: statistics.median(run[name] for run in found) for name in found[0]}
            every[job.title] = {name: seconds * 1e6 for name, seconds in middle.items()}
    names = list(next(iter(every.values()), {}))
    rows = [[title, *(f"{own[name]:.1f}" for name in names)] for title, own in every.items()]
    return _table(["examples", *names], rows)


def _details(jobs: Sequence[Job], results: Results, peers: Results) -> str:
    rows = []
    for job in jobs:
        found = [(results[job.name], system) for system in job.systems if system != "parts"]
        found += [(peers[job.name], system) for system in job.peers if job.name in peers]
        for result, system in found:
            times = [run["seconds"] for run in result["runs"] if run["system"] == system]
            if not times:
                continue
            seconds = median(result, system, "seconds") or 0.0
            startup = median(result, system, "startup_s") or 0.0
            count = median(result, system, "rows")
            memory = (median(result, system, "peak_bytes") or 0.0) / 2**20
            rows.append(
                [
                    job.title,
                    _NAMES[system],
                    f"{seconds:.3f}",
                    f"{min(times):.3f} to {max(times):.3f}",
                    "" if count is None else f"{count / seconds:,.0f}",
                    f"{startup:.1f}" if startup else "",
                    f"{memory:,.0f}",
                ]
            )
    head = ["job", "system", "seconds", "range", "rows/s", "start-up, s", "peak memory, MiB"]
    return _table(head, rows)


def _bars(job: Job, results: Results, peers: Results) -> tuple[str, list[Bar]]:
    bars = []
    for system in _COLUMNS:
        ratio = _ratio(job, system, results, peers)
        if ratio is not None:
            name = _NAMES[system].replace("`", "")
            bars.append(Bar(name, ratio, _number(ratio), is_ours=system in OURS))
    return job.title, bars


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value < 0.2 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
