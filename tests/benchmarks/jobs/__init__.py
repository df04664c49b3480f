"""The jobs, one kind per file."""

from __future__ import annotations

import importlib

from benchmarks.job import Job

__all__ = ["all_jobs", "find"]

_FILES = ("logistic", "forest", "frames", "mlp", "tensors", "sequences", "plugins")
_FILES += ("fixed_cost", "row_path")


def all_jobs() -> list[Job]:
    """Every job, in the order of the page of results."""
    modules = [importlib.import_module(f"benchmarks.jobs.{name}") for name in _FILES]
    return [job for module in modules for job in module.JOBS]


def find(name: str) -> Job:
    """The job of this name.

    Raises:
        SystemExit: there is none; names those that there are.
    """
    jobs = {job.name: job for job in all_jobs()}
    if name not in jobs:
        raise SystemExit(f"no job {name!r}; there are {', '.join(jobs)}")
    return jobs[name]
