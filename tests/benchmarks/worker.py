"""One measurement: ``python -m benchmarks.worker JOB SYSTEM FOLDER OUTPUT REPORT``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.jobs import find
from benchmarks.systems import prepare

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Prepare, take the time of the work alone, and write it down."""
    name, system, folder, output, report = arguments
    work = prepare(find(name), system, Path(folder), Path(output))
    ready = time.monotonic()
    start = time.perf_counter()
    told = work() or {}
    seconds = time.perf_counter() - start
    Path(report).write_text(json.dumps({"ready": ready, "seconds": seconds, **told}))


if __name__ == "__main__":
    main(sys.argv[1:])
