"""What became of a run of ``runinference score``, for a person or for a program."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping
from typing import Any

from runinference_cli.amounts import counted, duration
from runinference_cli.counts import Counts

__all__ = ["Summary", "json_of_error"]

_REASONS = 3


@dataclasses.dataclass(frozen=True)
class Summary:
    """A run that scored its rows.

    Attributes:
        rows: scored and written.
        seconds: from the start of the pipeline to the results in their place.
        files: written.
        output: the folder.
        counts: empty where the model ran in other processes.
        failed_rows: written; None where no failure was let pass.
        failures: the folder of the failed rows.
        report: the file.
    """

    rows: int
    seconds: float
    files: int
    output: str
    counts: Counts
    failed_rows: int | None = None
    failures: str | None = None
    report: str | None = None

    @property
    def rows_per_second(self) -> float:
        """Without the time of loading the model."""
        return self.rows / max(self.seconds - self.counts.load_seconds, 1e-9)

    def text(self) -> str:
        """A few lines."""
        counts = self.counts
        loading = ""
        if counts.load_seconds >= 0.01:
            loading = f", after {duration(counts.load_seconds)} for loading the model"
        working = duration(max(self.seconds - counts.load_seconds, 0.0))
        rate = f"{self.rows_per_second:,.0f} rows/s"
        lines = [f"scored {counted(self.rows, 'row')} in {working} ({rate}){loading}"]
        if counts.batches:
            size = counts.rows / counts.batches
            lines.append(f"{counted(counts.batches, 'batch')} of {size:,.0f} rows on average")
        if counts.deduplicated:
            lines.append(
                f"{counted(counts.deduplicated, 'row')} equal to others, not predicted again"
            )
        if counts.model_id:
            lines.append(f"model {counts.model_id}")
        if counts.sha256:
            lines.append(f"sha256 {counts.sha256}")
        lines.append(f"{counted(self.files, 'file')} in {self.output}")
        if self.failed_rows is not None:
            lines += self._failed_lines(self.failed_rows)
        if self.report is not None:
            lines.append(f"report {self.report}")
        return "\n".join(lines)

    def json(self) -> str:
        """One line: an object with the same, under names that stay."""
        counts = self.counts
        told: Mapping[str, Any] = {
            "status": "done",
            "rows": self.rows,
            "failed_rows": self.failed_rows or 0,
            "deduplicated_rows": counts.deduplicated,
            "seconds": round(self.seconds, 6),
            "load_seconds": round(counts.load_seconds, 6),
            "rows_per_second": round(self.rows_per_second, 3),
            "batches": counts.batches or None,
            "mean_batch_size": round(counts.rows / counts.batches, 3) if counts.batches else None,
            "model_id": counts.model_id,
            "sha256": counts.sha256,
            "files": self.files,
            "output": self.output,
            "failures": self.failures,
            "failure_reasons": [
                {"reason": reason, "rows": number}
                for reason, number in counts.failures.most_common()
            ],
            "report": self.report,
        }
        return json.dumps(told)

    def _failed_lines(self, rows: int) -> list[str]:
        counts = self.counts
        where = f", in {self.failures}" if rows else ""
        lines = [f"{counted(rows, 'row')} failed{where}"]
        for reason, number in counts.failures.most_common(_REASONS):
            lines.append(f"  {counted(number, 'row')}: {textwrap.shorten(reason, 200)}")
        others = len(counts.failures) - _REASONS
        if others > 0:
            lines.append(f"  and {others:,} other reasons, in the column failure_message")
        return lines


def json_of_error(message: str, is_interrupted: bool) -> str:
    """One line: an object for a run that left no results."""
    status = "interrupted" if is_interrupted else "failed"
    return json.dumps({"status": status, "error": message})
