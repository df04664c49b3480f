"""What a report tells of a run, heard from the worker while it runs, in bounded memory."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

from runinference.hooks import (
    BatchFailed,
    BatchHalved,
    BatchPredicted,
    ExamplesDeduplicated,
    ExamplesFailed,
    ModelClosed,
    ModelLoaded,
    ModelRefused,
    RemoteCalled,
    observer,
)
from runinference.memory import resident_bytes
from runinference_cli.run_report.predictions import Predictions
from runinference_cli.run_report.sketches import LogHistogram, TimeBins

__all__ = ["Collected", "FailureKind", "ModelUse"]

_LOADS = 50
_MODELS = 50
_KINDS = 50
_EXAMPLES = 3
_MESSAGE = 600
_MEMORY_S = 0.25
_OTHERS = "others"


@dataclasses.dataclass
class ModelUse:
    """What one model was asked."""

    rows: int = 0
    calls: int = 0
    seconds: float = 0.0


@dataclasses.dataclass
class FailureKind:
    """Failures of one type: how many examples, at which stage, and some of the messages."""

    examples: int = 0
    stages: set[str] = dataclasses.field(default_factory=set)
    messages: list[str] = dataclasses.field(default_factory=list)


class Collected:
    """Listens to a run from :meth:`start` to :meth:`stop`.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._watch: threading.Thread | None = None
        self._start = clock()
        self._processor = time.process_time()
        self.seconds = 0.0
        self.processor_seconds = 0.0
        self.rows = self.deduplicated = 0
        self.rows_over_time = TimeBins()
        self.sizes = LogHistogram()
        self.latencies = LogHistogram()
        self.tokens = self.padded_tokens = 0
        self.padding = [0] * 20  # calls by the share of padding in them
        self.nonfinite = self.halved = self.failed_calls = 0
        self.prepare_seconds = self.collate_seconds = self.predict_seconds = 0.0
        self.tells_collating = False
        self.loads: list[ModelLoaded] = []
        self.load_count = self.closed = 0
        self.load_seconds = 0.0
        self.refused: list[str] = []
        self.models: dict[str, ModelUse] = {}
        self.handlers: dict[str, None] = {}
        self.failures: dict[str, FailureKind] = {}
        self.failed_rows = 0
        self.memory = TimeBins(width=_MEMORY_S, together=max)
        self.predictions = Predictions()
        self.remote_calls = self.requests = self.rejected = 0
        self.request_latencies = LogHistogram()
        self.throttled_s = 0.0

    def start(self) -> None:
        """Time begins, and memory is watched."""
        self._start = self._clock()
        self._processor = time.process_time()
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """Time ends."""
        self._done.set()
        if self._watch is not None:
            self._watch.join()
        self._remember_memory()
        self.seconds = self._clock() - self._start
        self.processor_seconds = time.process_time() - self._processor

    @observer
    def model_loaded(self, event: ModelLoaded) -> None:
        """Keep the first ones."""
        with self._lock:
            self.load_count += 1
            self.load_seconds += event.seconds
            self.handlers[event.handler] = None
            if len(self.loads) < _LOADS:
                self.loads.append(event)

    @observer
    def model_closed(self, event: ModelClosed) -> None:
        """Count it."""
        with self._lock:
            self.closed += 1

    @observer
    def model_refused(self, event: ModelRefused) -> None:
        """Keep the first ones."""
        with self._lock:
            if len(self.refused) < _LOADS:
                kind = type(event.error).__name__
                self.refused.append(f"{event.path}: {kind}: {event.error}"[:_MESSAGE])

    @observer
    def batch_predicted(self, event: BatchPredicted) -> None:
        """Add it to all that is counted of calls."""
        now = self._clock() - self._start
        with self._lock:
            self.rows += event.size
            self.rows_over_time.add(max(now - event.seconds, 0.0), now, event.size)
            self.sizes.add(event.size)
            self.latencies.add(event.seconds)
            self.nonfinite += event.nonfinite
            self.prepare_seconds += event.prepare_seconds
            if event.collate_seconds is not None:
                self.tells_collating = True
                self.collate_seconds += event.collate_seconds
            self.predict_seconds += event.seconds - (event.collate_seconds or 0.0)
            if event.tokens is not None and event.padded_tokens:
                self.tokens += event.tokens
                self.padded_tokens += event.padded_tokens
                waste = 1 - event.tokens / event.padded_tokens
                self.padding[min(int(waste * 20), 19)] += 1
            use = self._use(event.model_id or event.handler)
            use.rows += event.size
            use.calls += 1
            use.seconds += event.seconds
            if event.predictions is not None and event.size:
                self.predictions.add(event.predictions)

    @observer
    def batch_failed(self, event: BatchFailed) -> None:
        """Count it."""
        with self._lock:
            self.failed_calls += 1

    @observer
    def batch_halved(self, event: BatchHalved) -> None:
        """Count it."""
        with self._lock:
            self.halved += 1

    @observer
    def examples_deduplicated(self, event: ExamplesDeduplicated) -> None:
        """Count them."""
        with self._lock:
            self.deduplicated += event.size

    @observer
    def examples_failed(self, event: ExamplesFailed) -> None:
        """Count them by type, and keep a few different messages of each."""
        with self._lock:
            self.failed_rows += event.size
            kind = event.error_type
            if kind not in self.failures and len(self.failures) >= _KINDS:
                kind = _OTHERS
            failure = self.failures.setdefault(kind, FailureKind())
            failure.examples += event.size
            failure.stages.add(event.stage)
            message = event.message[:_MESSAGE]
            if len(failure.messages) < _EXAMPLES and message not in failure.messages:
                failure.messages.append(message)

    @observer
    def remote_called(self, event: RemoteCalled) -> None:
        """Count its requests."""
        with self._lock:
            self.remote_calls += 1
            self.requests += len(event.latencies)
            self.rejected += event.is_rejected
            self.throttled_s += event.throttled_s / event.in_flight
            for seconds in event.latencies:
                self.request_latencies.add(seconds)

    def _use(self, model: str) -> ModelUse:
        if model not in self.models and len(self.models) >= _MODELS:
            model = _OTHERS
        return self.models.setdefault(model, ModelUse())

    def _watch_memory(self) -> None:
        while True:
            self._remember_memory()
            if self._done.wait(_MEMORY_S):
                return

    def _remember_memory(self) -> None:
        now = self._clock() - self._start
        self.memory.add(now, now, resident_bytes())
