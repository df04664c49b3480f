"""How many threads a model's library gets where several workers share a machine."""

from __future__ import annotations

import os

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions

__all__ = ["processors", "share_of_threads"]

# Modules of the runners that have the machine for themselves.
_ON_THIS_MACHINE = (
    "apache_beam.runners.direct",
    "apache_beam.runners.interactive",
    "apache_beam.runners.portability.fn_api_runner",
    "apache_beam.runners.portability.prism_runner",
)


def processors() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of_threads(pipeline: beam.Pipeline) -> int | None:
    """One worker's share of the processors, or None where it has them all.

    Flink, Spark and Dataflow start about as many workers on a machine as it has processors, so that
    each gets one. Of the embedded runner's workers the number is known; 0 means as many as there
    are processors.
    """
    if not type(pipeline.runner).__module__.startswith(_ON_THIS_MACHINE):
        return 1
    workers = pipeline._options.view_as(DirectOptions).direct_num_workers or processors()
    return None if workers == 1 else max(processors() // workers, 1)
