"""Beam metrics of models and batches, under the names that Beam's own RunInference uses."""

from __future__ import annotations

from typing import Any

from apache_beam.metrics import Metrics

from runinference.hooks import (
    BatchFailed,
    BatchHalved,
    BatchPredicted,
    ExamplesDeduplicated,
    ExamplesFailed,
    ModelLoaded,
    ModelRefused,
    RemoteCalled,
    observer,
)

__all__ = ["BeamMetrics"]


class BeamMetrics:
    """The observer of one worker that counts in Beam's metrics.

    Beam takes a count only while a bundle is processed; a load before the first bundle is kept and
    reported with :meth:`flush`.
    """

    def __init__(self, namespace: str, prefix: str | None = None) -> None:
        """Name the metrics.

        Args:
            namespace: of all of them.
            prefix: the first key of the model, where a step has a model per key: the names then
                are Beam's, ``<key>-_num_inferences`` and so on.
        """
        start = "" if prefix is None else f"{prefix}-_"

        def counter(name: str) -> Any:
            return Metrics.counter(namespace, start + name)

        def distribution(name: str) -> Any:
            return Metrics.distribution(namespace, start + name)

        self._inferences = counter("num_inferences")
        self._examples = counter("num_examples")
        self._failures = counter("num_failures")
        self._deduplicated = counter("num_deduplicated")
        self._nonfinite = counter("num_nonfinite")
        self._failed_batches = counter("failed_batches_counter")
        self._halved_batches = counter("halved_batches_counter")
        self._batch_size = distribution("inference_request_batch_size")
        self._batch_bytes = distribution("inference_request_batch_byte_size")
        self._tokens = distribution("inference_request_batch_tokens")
        self._padded = distribution("inference_request_batch_padded_tokens")
        self._batch_latency = distribution("inference_batch_latency_micro_secs")
        self._model_bytes = distribution("model_byte_size")
        self._load_latency = distribution("load_model_latency_milli_secs")
        self._requests = counter("requests_counter")
        self._retries = counter("retried_requests_counter")
        self._rejected = counter("breaker_rejected_calls_counter")
        self._request_latency = distribution("request_latency_micro_secs")
        # the name by which Dataflow knows that more workers would not help
        self._throttling = counter("cumulativeThrottlingSeconds")
        self._throttled_s = 0.0
        self._refused = counter("refused_models_counter")
        self._refusals = 0
        self._loads: list[ModelLoaded] = []

    @observer
    def model_loaded(self, event: ModelLoaded) -> None:
        """Keep until the next bundle."""
        self._loads.append(event)

    @observer
    def model_refused(self, event: ModelRefused) -> None:
        """Keep until the next bundle."""
        self._refusals += 1

    @observer
    def batch_predicted(self, event: BatchPredicted) -> None:
        """Count the examples, and the size, bytes, tokens and latency of the call."""
        self._inferences.inc(event.size)
        self._batch_size.update(event.size)
        self._batch_bytes.update(event.byte_size)
        self._batch_latency.update(int(event.seconds * 1e6))
        if event.nonfinite:
            self._nonfinite.inc(event.nonfinite)
        if event.tokens is not None:
            self._tokens.update(event.tokens)
        if event.padded_tokens is not None:
            self._padded.update(event.padded_tokens)

    @observer
    def batch_failed(self, event: BatchFailed) -> None:
        """Count the call."""
        self._failed_batches.inc()

    @observer
    def batch_halved(self, event: BatchHalved) -> None:
        """Count the call."""
        self._halved_batches.inc()

    @observer
    def examples_failed(self, event: ExamplesFailed) -> None:
        """Count the examples."""
        self._failures.inc(event.size)

    @observer
    def examples_deduplicated(self, event: ExamplesDeduplicated) -> None:
        """Count the examples."""
        self._deduplicated.inc(event.size)

    @observer
    def remote_called(self, event: RemoteCalled) -> None:
        """Count the requests of the call, and the bundle's time that throttling took."""
        self._requests.inc(len(event.latencies))
        self._retries.inc(max(len(event.latencies) - 1, 0))
        for seconds in event.latencies:
            self._request_latency.update(int(seconds * 1e6))
        if event.is_rejected:
            self._rejected.inc()
        # calls that wait at the same time hold the bundle up once
        self._throttled_s += event.throttled_s / event.in_flight
        whole = int(self._throttled_s)
        self._throttled_s -= whole
        if whole:
            self._throttling.inc(whole)

    def received(self, examples: int) -> None:
        """Count examples that came in: as many as are predicted, deduplicated, or fail."""
        self._examples.inc(examples)

    def flush(self) -> None:
        """Report the loads since the last call; to be called while a bundle is processed."""
        self._refused.inc(self._refusals)
        self._refusals = 0
        while self._loads:
            event = self._loads.pop()
            self._model_bytes.update(event.byte_size)
            self._load_latency.update(int(event.seconds * 1e3))
