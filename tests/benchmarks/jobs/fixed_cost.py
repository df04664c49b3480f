"""1,000 rows, whole processes: what a run costs however little it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from benchmarks.jobs.logistic import Logistic

__all__ = ["JOBS", "FixedCost"]

_MODEL_LIBRARY = "import apache_beam, pyarrow.parquet, sklearn.linear_model"
_IMPORTS = {
    "imports": f"{_MODEL_LIBRARY}, skops.io, jsonargparse",
    "imports-bare": _MODEL_LIBRARY,
}


class FixedCost(Logistic):
    """From the start of a process to its end, beside importing libraries and ending at once.

    ``imports`` has what the command line cannot do without: Beam, pyarrow, scikit-learn, skops,
    and the parser of the options. ``imports-bare`` leaves the last two out.
    """

    reference: ClassVar[str] = "imports"
    is_whole_process: ClassVar[bool] = True

    def process(self, system: str, folder: Path, output: Path) -> list[str] | None:
        """The command itself, and Python with imports alone."""
        if system == "tables":
            return [sys.executable, "-m", "runinference_cli", *self.command(folder, output)]
        if system in _IMPORTS:
            return [sys.executable, "-c", _IMPORTS[system]]
        return None


JOBS = (
    FixedCost(
        name="fixed-cost",
        title="logistic regression, 1,000 rows, whole process",
        rows=1000,
        quick_rows=1000,
        systems=("imports", "imports-bare", "loop", "tables", "rows", "beam"),
    ),
)
