"""What has happened so far in the models of this process, as numbers."""

from __future__ import annotations

import collections
import threading

from runinference.failures import Reason
from runinference.hooks import (
    BatchFailed,
    BatchPredicted,
    ExamplesDeduplicated,
    ExamplesFailed,
    ModelLoaded,
    observer,
)

__all__ = ["Counts"]


class Counts:
    """Counts what happens to models and batches in this process.

    Attributes:
        rows: predicted so far.
        deduplicated: rows so far that got the prediction of an equal one.
        batches: calls of the model so far.
        last_size: rows of the last call.
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
        self.last_size = 0
        self.load_seconds = 0.0
        self.model_id: str | None = None
        self.sha256: str | None = None
        self.failures: collections.Counter[str] = collections.Counter()
        self.failed: tuple[Exception, str] | None = None

    @property
    def done(self) -> int:
        """Rows that have a prediction, or will have none."""
        return self.rows + self.deduplicated + self.failures.total()

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
            self.last_size = event.size

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
