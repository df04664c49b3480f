"""What a user sees of a run: progress on a terminal, and a summary at its end."""

from __future__ import annotations

import collections
import contextlib
import sys
import textwrap
import threading
from collections.abc import Iterator

from runinference.failures import Reason
from runinference.hooks import (
    BatchFailed,
    BatchPredicted,
    ExamplesDeduplicated,
    ExamplesFailed,
    ModelLoaded,
    observer,
)

__all__ = ["Counts", "failures_summary", "live", "summary"]

_REASONS = 3


class Counts:
    """Counts what happens to models and batches in this process.

    Attributes:
        rows: predicted so far.
        deduplicated: rows so far that got the prediction of an equal one.
        batches: calls of the model so far.
        load_seconds: of all loads together.
        model_id: of the model that was loaded last.
        sha256: of the file of the model that was loaded last.
        failures: rows that failed so far, by type and message of the error.
        failed: the error of the first call that failed, with the file and rows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rows = 0
        self.deduplicated = 0
        self.batches = 0
        self.load_seconds = 0.0
        self.model_id: str | None = None
        self.sha256: str | None = None
        self.failures: collections.Counter[str] = collections.Counter()
        self.failed: tuple[Exception, str] | None = None

    @observer
    def model_loaded(self, event: ModelLoaded) -> None:
        """Add up the time."""
        with self._lock:
            self.load_seconds += event.seconds
            self.model_id, self.sha256 = event.model_id, event.sha256

    @observer
    def batch_predicted(self, event: BatchPredicted) -> None:
        """Count the rows."""
        with self._lock:
            self.rows += event.size
            self.batches += 1

    @observer
    def examples_deduplicated(self, event: ExamplesDeduplicated) -> None:
        """Count the rows."""
        with self._lock:
            self.deduplicated += event.size

    @observer
    def batch_failed(self, event: BatchFailed) -> None:
        """Remember the first one, with the rows among which it was."""
        from runinference_cli.pipeline import rows_in_flight

        with self._lock:
            self.failed = self.failed or (event.error, rows_in_flight())

    @observer
    def examples_failed(self, event: ExamplesFailed) -> None:
        """Count the rows."""
        with self._lock:
            self.failures[Reason(event.error_type, event.message, "").text] += event.size


@contextlib.contextmanager
def live(counts: Counts, total: int | None) -> Iterator[None]:
    """Show the counts while the block runs, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Rates(ProgressColumn):
        """Reads the counts each time that the display is drawn."""

        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed or 0
            told = f"{_count(counts.rows + counts.deduplicated, 'row')}, {rate:,.0f} rows/s"
            if counts.failures:
                told += f", {counts.failures.total():,} failed"
            return Text(f"{told}, {_count(counts.batches, 'batch')}")

    done = threading.Event()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        Rates(table_column=Column(no_wrap=True)),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("loading the model", total=total)

        def update() -> None:
            while not done.wait(0.1):
                description = "scoring" if counts.batches else "loading the model"
                rows = counts.rows + counts.deduplicated + counts.failures.total()
                progress.update(task, completed=rows, description=description)

        thread = threading.Thread(target=update, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def summary(counts: Counts, rows: int, files: int, seconds: float, output: str) -> str:
    """The run in a few lines.

    Args:
        counts: empty where the model ran in other processes.
        rows: scored and written.
        files: written.
        seconds: from the start of the pipeline to the results in their place.
        output: the folder.
    """
    working = max(seconds - counts.load_seconds, 1e-9)
    loading = ""
    if counts.load_seconds >= 0.01:
        loading = f", after {_seconds(counts.load_seconds)} for loading the model"
    rate = f"{rows / working:,.0f} rows/s"
    lines = [f"scored {_count(rows, 'row')} in {_seconds(working)} ({rate}){loading}"]
    if counts.batches:
        size = counts.rows / counts.batches
        lines.append(f"{_count(counts.batches, 'batch')} of {size:,.0f} rows on average")
    if counts.deduplicated:
        lines.append(f"{_count(counts.deduplicated, 'row')} equal to others, not predicted again")
    if counts.model_id:
        lines.append(f"model {counts.model_id}")
    if counts.sha256:
        lines.append(f"sha256 {counts.sha256}")
    lines.append(f"{_count(files, 'file')} in {output}")
    return "\n".join(lines)


def failures_summary(counts: Counts, rows: int, folder: str) -> str:
    """What became of the rows that failed, and the commonest reasons.

    Args:
        counts: empty where the model ran in other processes.
        rows: failed and written.
        folder: where they are.
    """
    lines = [f"{_count(rows, 'row')} failed" + (f", in {folder}" if rows else "")]
    for reason, number in counts.failures.most_common(_REASONS):
        lines.append(f"  {_count(number, 'row')}: {textwrap.shorten(reason, 200)}")
    others = len(counts.failures) - _REASONS
    if others > 0:
        lines.append(f"  and {others:,} other reasons, in the column failure_message")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    plural = what if number == 1 else f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,} {plural}"


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
